use super::{Command, Event, Refusal, Template, Version};
use crate::{Aggregate, Fault, Timestamp, jinja, name};

impl Aggregate for Template {
    const NAME: &'static str = "template";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Create { name, subject, text, html } => match self.newest() {
                Some(_) => Err(Refusal::Exists),
                None => Self::add(name, self.drafted(subject, text, html.as_ref())),
            },
            Command::Revise { subject, text, html } => {
                let newest = self.newest().ok_or(Refusal::NotFound)?;
                let version = self.drafted(subject, text, html.as_ref());
                if newest.subject == version.subject
                    && newest.text == version.text
                    && newest.html == version.html
                {
                    return Ok(vec![]);
                }
                Self::add(&self.name, version)
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
    fn drafted(&self, subject: &str, text: &str, html: Option<&String>) -> Version {
        Version {
            version: self.next(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: html.cloned(),
        }
    }

    fn add(name: &str, version: Version) -> Result<Vec<Event>, Refusal> {
        let mut faults = vec![];
        name::check(name, &mut faults);
        jinja::check("/subject", &version.subject, &mut faults);
        if version.subject.contains(char::is_control) {
            let detail = "a subject is one line";
            faults.push(Fault::new("/subject", "malformed_template", detail));
        }
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
