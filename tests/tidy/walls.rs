//! Walls: the fields of a struct are used in its own file. Other files call its methods, or are
//! handed what they need.

use std::collections::{BTreeMap, BTreeSet};

use super::graph;

/// Structs whose fields another file uses, with that file. The list only gets shorter.
const OPEN: &[(&str, &str)] = &[];

/// A field, and whether only its struct's module and those below it can use it.
struct Field {
    name: String,
    is_private: bool,
}

/// The modules that define a struct of each name, each with the fields.
type Structs = BTreeMap<String, Vec<(String, Vec<Field>)>>;

/// Structs whose fields are used outside their own file, with the file that uses them: fields of
/// `self` in an `impl` block, and private ones of a parameter. Fields that are open to all may be
/// used by the traits of other files.
fn open_walls<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let files: Vec<(String, &str)> = files
        .into_iter()
        .filter(|(path, _)| !graph::is_test(path))
        .map(|(path, text)| (graph::module(path), graph::without_tests(text)))
        .collect();
    let mut structs = Structs::new();
    for (module, text) in &files {
        for (name, fields) in defined(text) {
            structs.entry(name).or_default().push((module.clone(), fields));
        }
    }
    let mut open = BTreeSet::new();
    for (module, text) in &files {
        let own: BTreeSet<_> = names_defined(text).collect();
        for block in impls(text).filter(|block| !own.contains(block.name)) {
            let Some((home, fields)) = meant(&structs, block.name, module) else { continue };
            // A trait may be implemented for values that are open to all.
            let mut walled = fields.iter().filter(|one| one.is_private || !block.is_of_trait);
            if walled.any(|field| uses(block.body, "self", &field.name)) {
                open.insert((format!("{home}::{}", block.name), module.clone()));
            }
        }
        for (parameter, name) in parameters(text).filter(|(_, name)| !own.contains(name)) {
            let Some((home, fields)) = meant(&structs, name, module) else { continue };
            let mut private = fields.iter().filter(|field| field.is_private);
            let is_below = module.starts_with(&format!("{home}::"));
            if is_below && private.any(|field| uses(text, parameter, &field.name)) {
                open.insert((format!("{home}::{name}"), module.clone()));
            }
        }
    }
    open.into_iter().collect()
}

/// Of the structs of a name the one that is nearest to a module.
fn meant<'a>(structs: &'a Structs, name: &str, module: &str) -> Option<(&'a str, &'a [Field])> {
    let shared = |home: &str| {
        home.split("::").zip(module.split("::")).take_while(|(one, other)| one == other).count()
    };
    let defined = structs.get(name)?.iter();
    let (home, fields) = defined.max_by_key(|(home, _)| shared(home))?;
    Some((home, fields))
}

/// The structs with named fields that a text defines.
fn defined(text: &str) -> impl Iterator<Item = (String, Vec<Field>)> {
    text.split("\n\n").flat_map(|part| part.split("\n}")).filter_map(|part| {
        let (head, rest) = part.split_once("struct ")?;
        let starts = head.is_empty() || head.ends_with('\n') || head.ends_with("pub ");
        let is_top = starts || head.lines().last().is_some_and(|line| line.starts_with("pub("));
        let (header, body) = rest.split_once("{\n")?;
        let name = word(header);
        let fields = body.lines().filter_map(|line| {
            let line =
                line.strip_prefix("    ").filter(|line| !line.starts_with([' ', '/', '#']))?;
            let is_private = !line.starts_with("pub");
            let field = line.split_once(": ")?.0;
            let name = field.rsplit(' ').next()?.to_owned();
            Some(Field { name, is_private })
        });
        (is_top && !header.contains(';')).then(|| (name.to_owned(), fields.collect()))
    })
}

/// The names of all types that a text defines.
fn names_defined(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line
            .strip_prefix("pub")
            .map_or(line, |rest| rest.split_once(' ').map_or("", |it| it.1));
        let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
        kinds.iter().find_map(|kind| line.strip_prefix(kind)).map(word)
    })
}

/// An `impl` block: its type, whether it implements a trait, and what stands in it.
struct Impl<'a> {
    name: &'a str,
    is_of_trait: bool,
    body: &'a str,
}

fn impls(text: &str) -> impl Iterator<Item = Impl<'_>> {
    let starts = text.match_indices("\nimpl").map(|(at, _)| at + 1);
    starts.filter_map(|at| {
        let block = &text[at..];
        let (header, body) = block.split_once("{\n")?;
        let header = without_generics(header.strip_prefix("impl")?);
        let of_trait = header.split_once(" for ");
        let of = of_trait.map_or(header, |(_, of)| of).trim_start();
        let path = of.split(['<', ' ', '\n']).next()?;
        let name = path.rsplit("::").next()?;
        Some(Impl { name, is_of_trait: of_trait.is_some(), body: body.split("\n}").next()? })
    })
}

/// What stands behind the generics at the start of a text.
fn without_generics(text: &str) -> &str {
    if !text.starts_with('<') {
        return text;
    }
    let mut depth = 0;
    let end = text.find(|c| {
        depth += match c {
            '<' => 1,
            '>' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.map_or("", |end| &text[end + 1..])
}

/// The parameters of a text that are a value of a type or a reference to one: name and type.
fn parameters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices(": ").filter_map(|(at, _)| {
        let before = &text[..at];
        let begin = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        let of = text[at + 2..].trim_start_matches('&').trim_start_matches("mut ");
        let end = of.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')?;
        let (path, after) = of.split_at(end);
        let is_type = path.rsplit("::").next()?.starts_with(|c: char| c.is_uppercase());
        let ends = after.starts_with([',', ')', '|', '\n']);
        (is_type && ends).then(|| (&before[begin..], path.rsplit("::").next().unwrap()))
    })
}

/// Whether a text uses a field of a variable; a method of that name is no field.
fn uses(text: &str, variable: &str, field: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(field).any(|(at, _)| {
        let (before, after) = (text[..at].strip_suffix('.'), &text[at + field.len()..]);
        let owner = before.and_then(|before| before.trim_end().strip_suffix(variable));
        let is_whole = !after.starts_with(|c: char| is_word(c) || c == '(');
        is_whole && owner.is_some_and(|rest| !rest.ends_with(|c| is_word(c) || c == '.'))
    })
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn fields_are_used_in_the_file_of_their_struct() {
    let sources = graph::sources();
    let files = sources.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    let found = open_walls(files);
    let found: Vec<_> = found.iter().map(|(name, file)| (name.as_str(), file.as_str())).collect();
    assert_eq!(found, OPEN, "those found are left, those listed right");
}

#[test]
fn a_field_that_another_file_uses_is_noticed() {
    let app = "/// The state.\n#[derive(Default)]\npub struct App {\n    /// How many.\n    count: u8,\n    \
               pub name: String,\n}\n\nimpl App {\n    fn f(&self) -> u8 {\n        self.count\n    }\n}\n";
    let found = |path: &str, text: &str| {
        let files =
            [("ui/app.rs", app), ("model.rs", "struct App {\n    other: u8,\n}\n"), (path, text)];
        open_walls(files)
            .into_iter()
            .map(|(name, file)| format!("{name} {file}"))
            .collect::<Vec<_>>()
    };
    let impls = |head: &str, body: &str| {
        format!("use x;\n\n{head} {{\n    fn g(&self) {{\n        {body}\n    }}\n}}\n")
    };
    for (head, body) in [
        ("impl App", "self.count += 1;"),
        ("impl App", "self\n            .name.len();"),
        ("impl Show for super::app::App", "let x = self.count;"),
        ("impl<T: Into<u8>> From<T> for App", "f(&self.count)"),
    ] {
        assert_eq!(
            found("ui/keys.rs", &impls(head, body)),
            ["ui::app::App ui::keys"],
            "{head} {body}"
        );
    }
    for (head, body) in [
        ("impl App", "self.count();"),
        ("impl App", "self.counts;"),
        ("impl App", "other.count;"),
        ("impl Show for Keys", "self.count;"),
        ("impl Show for App", "self.name;"),
    ] {
        assert!(found("ui/keys.rs", &impls(head, body)).is_empty(), "{head} {body}");
    }
    let own = "struct App {\n    count: u8,\n}\n\nimpl App {\n    fn h(&self) {\n        self.count\n    }\n}\n";
    assert!(found("ui/keys.rs", own).is_empty());
    // Only modules below can use private fields of a parameter.
    let takes = |field: &str| format!("fn g(app: &mut App, x: u8) {{\n    app.{field}\n}}\n");
    assert_eq!(found("ui/app/keys.rs", &takes("count")), ["ui::app::App ui::app::keys"]);
    assert!(found("ui/app/keys.rs", &takes("name")).is_empty());
    assert!(found("ui/app/tests.rs", &takes("count")).is_empty());
}
