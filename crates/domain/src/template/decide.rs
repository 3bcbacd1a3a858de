use super::{Command, Event, Refusal, Template, Version};
use crate::{Aggregate, Timestamp, jinja, name};

impl Aggregate for Template {
    const NAME: &'static str = "template";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Create { name, subject, text, html } => match self.newest() {
                Some(_) => Err(Refusal::Exists),
                None => self.add(name, self.drafted(subject, text, html)),
            },
            Command::Revise { subject, text, html } => {
                let newest = self.newest().ok_or(Refusal::NotFound)?;
                let version = self.drafted(subject, text, html);
                if newest.subject == version.subject
                    && newest.text == version.text
                    && newest.html == version.html
                {
                    return Ok(vec![]);
                }
                self.add(&self.name, version)
            }
            Command::Delete => {
                self.newest().ok_or(Refusal::NotFound)?;
                Ok(vec![Event::Deleted {}])
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }
}

impl Template {
    fn drafted(&self, subject: &str, text: &str, html: &Option<String>) -> Version {
        Version {
            version: self.next(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: html.clone(),
        }
    }

    fn add(&self, name: &str, version: Version) -> Result<Vec<Event>, Refusal> {
        let mut faults = vec![];
        name::check(name, &mut faults);
        jinja::check("/subject", &version.subject, &mut faults);
        jinja::check("/text", &version.text, &mut faults);
        if let Some(html) = &version.html {
            jinja::check("/html", html, &mut faults);
        }
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        let name = name.to_owned();
        let Version { version, subject, text, html } = version;
        Ok(vec![Event::VersionSaved { name, version, subject, text, html }])
    }
}
