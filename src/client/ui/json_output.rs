//! JSON interface, one object per line in both directions (docs/json.md).

use super::Ui;
use super::objects::Objects;
use super::stdout::{Print, Stdout};
use crate::client::connection::inbox::Permit;
use crate::client::model::Output;
use crate::fault::code;

pub struct Json {
    out: Stdout,
    objects: Objects,
    /// The reason for the end, if the model has given one.
    bye: Option<String>,
}

impl Json {
    pub fn new(server: String, out: Stdout) -> Self {
        Json { out, objects: Objects::new(server), bye: None }
    }
}

impl Ui for Json {
    fn show(&mut self, output: &Output) {
        if let Output::Bye(reason) = output {
            self.bye = Some(reason.clone());
        }
        for object in self.objects.of(output) {
            self.out.print(object.to_string());
        }
    }

    fn carries(&mut self, permit: Option<Permit>) {
        self.out.carries(permit);
    }

    fn end(&mut self, exit_code: u8) -> bool {
        let quits = self.bye.is_some() || exit_code == code::INTERRUPTED;
        let reason = self.bye.take().unwrap_or_else(|| {
            let reason = match exit_code {
                0 | 8 => "the input has ended",
                130 => "interrupted",
                _ => "see the last error",
            };
            reason.to_owned()
        });
        self.out.print(Objects::bye(&reason).to_string());
        self.out.finish(quits)
    }
}
