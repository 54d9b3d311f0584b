//! State of the full screen: its parts, and what each is handed of the others.

use jiff::tz::TimeZone;
use ratatui::crossterm::event::Event;

use super::controls::Controls;
use super::keys::Keys;
use super::reader::Reader;
use super::settings::Settings;
use super::theme::Theme;
use super::update::Updates;
use crate::client::model::Output;

pub struct App {
    pub reader: Reader,
    pub controls: Controls,
    updates: Updates,
    pub settings: Settings,
    /// The lines that the operator needs to admit the user.
    pub admission: Vec<String>,
}

impl App {
    pub fn new(settings: Settings, theme: Theme, zone: TimeZone) -> Result<App, String> {
        let keys = Keys::new(&settings.keys)?;
        // Without colours the theme is mono, whatever was chosen.
        let colour = theme != Theme::Mono;
        let aligned = settings.align;
        let look = settings.theme.filter(|_| colour).unwrap_or(theme).look();
        let mut reader = Reader::new(look, zone);
        reader.aligned = aligned;
        Ok(App {
            reader,
            controls: Controls::new(keys, colour),
            updates: Updates::default(),
            settings,
            admission: Vec::new(),
        })
    }

    /// Handles an event of the terminal.
    pub fn input(&mut self, event: Event) {
        self.controls.input(event, &mut self.reader, &mut self.settings);
    }

    /// Shows an output of the model.
    pub fn show(&mut self, output: Output) {
        let asks = matches!(output, Output::Secret(_));
        if let Some(pane) = self.updates.show(output, &mut self.reader, &self.settings) {
            self.controls.open(pane, &mut self.reader);
        }
        if asks {
            self.controls.prompts(&mut self.reader);
        }
    }
}
