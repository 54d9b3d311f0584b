//! The table as a picture: CPU of a delivery, on a scale of powers of ten.

use std::fmt::Write;

/// One figure of one server.
pub struct Bar {
    pub row: String,
    pub server: String,
    pub us: f64,
}

/// Each server's colour, and its shape, a path from its middle: who does not see colours sees
/// those.
const MARKS: [(&str, &str); 6] = [
    ("#0b6e4f", "m-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0"),
    ("#6bbf59", "m-4.5 -4.5h9v9h-9z"),
    ("#d1495b", "m0 -6l5.5 10h-11z"),
    ("#edae49", "m0 -6l6 6l-6 6l-6 -6z"),
    ("#30638e", "m0 6l5.5 -10h-11z"),
    ("#8d6a9f", "m-5 -2h3v-3h4v3h3v4h-3v3h-4v-3h-3z"),
];
const LEFT: f64 = 190.0;
const WIDTH: f64 = 620.0;
const ROW: f64 = 22.0;
const TOP: f64 = 60.0;
/// The scale's ends, as powers of ten of a microsecond.
const FROM: f64 = -2.0;
const TO: f64 = 2.0;

fn x(us: f64) -> f64 {
    LEFT + (us.log10().clamp(FROM, TO) - FROM) / (TO - FROM) * WIDTH
}

/// The mark of a server, by its number.
fn mark(number: usize, x: f64, y: f64) -> String {
    let (colour, shape) = MARKS[number % MARKS.len()];
    format!("<path d=\"M{x:.1} {y}{shape}\" fill=\"{colour}\"/>")
}

/// A row for each shape of the load, a mark in it for each server.
pub fn draw(bars: &[Bar]) -> String {
    let (mut rows, mut servers): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for bar in bars {
        for (list, name) in [(&mut rows, &*bar.row), (&mut servers, &*bar.server)] {
            if !list.contains(&name) {
                list.push(name);
            }
        }
    }
    let conversation =
        |list: &[&str], name: &str| list.iter().position(|one| *one == name).unwrap();
    let height = TOP + ROW * (rows.len() as f64 + 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"14\">Server CPU of one delivery, microseconds</text>\n",
        LEFT + WIDTH + 30.0,
        height + 10.0
    );
    let mut line = |text: String| writeln!(svg, "{text}").unwrap();
    for (number, server) in servers.iter().enumerate() {
        let at = 8.0 + 150.0 * number as f64;
        line(mark(number, at + 5.0, 36.0));
        line(format!("<text x=\"{}\" y=\"40\">{server}</text>", at + 14.0));
    }
    for power in FROM as i32..=TO as i32 {
        let (us, bottom) = (10f64.powi(power), height - ROW / 2.0);
        let at = x(us);
        line(format!("<path d=\"M{at} {TOP}V{bottom}\" stroke=\"#ccc\"/>"));
        line(format!("<text x=\"{at}\" y=\"{height}\" text-anchor=\"middle\">{us}</text>"));
    }
    for (number, row) in rows.iter().enumerate() {
        let at = TOP + ROW * (number as f64 + 0.5);
        let label = row.replace(" | ", ", ");
        line(format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            at + 4.0
        ));
        line(format!("<path d=\"M{LEFT} {at}h{WIDTH}\" stroke=\"#eee\"/>"));
    }
    for bar in bars {
        let at = TOP + ROW * (conversation(&rows, &bar.row) as f64 + 0.5);
        line(mark(conversation(&servers, &bar.server), x(bar.us), at));
    }
    svg.push_str("</svg>\n");
    svg
}
