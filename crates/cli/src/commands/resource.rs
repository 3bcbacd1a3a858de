//! Files that describe things to create: workflows as their documents, everything else as YAML
//! whose `kind`, or whose file name, says what it is.

use std::path::{Path, PathBuf};
use std::{fs, io};

use domain::Fault;
use serde_json::Value;

use crate::config::Environment;
use crate::failure::{Failure, FileFault};

/// A thing as its file describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resource {
    /// The file, as it was named.
    pub(super) file: String,
    /// What it describes.
    pub(super) thing: Thing,
}

/// What a file describes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Thing {
    /// A workflow.
    Workflow {
        /// `document.namespace`.
        namespace: String,
        /// `document.name`.
        name: String,
        /// The file's text.
        text: String,
    },
    /// Anything else that goes by a name.
    Named {
        /// Which sort.
        kind: Kind,
        /// Its name.
        name: String,
        /// What the API is told, the name included.
        body: Value,
    },
}

/// The sorts of things that go by a name, in the order in which they may refer to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Prompt,
    Template,
    Agent,
    Integration,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Prompt, Self::Template, Self::Agent, Self::Integration];

    /// How files call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Template => "template",
            Self::Agent => "agent",
            Self::Integration => "integration",
        }
    }

    /// Where the API keeps them.
    pub(super) fn path(self) -> &'static [&'static str] {
        match self {
            Self::Prompt => &["prompts"],
            Self::Template => &["notifications", "templates"],
            Self::Agent => &["agents"],
            Self::Integration => &["integrations"],
        }
    }

    /// The fields that may stand for a variable of the environment, as `${NAME}`: secrets, and
    /// addresses that differ from place to place.
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Prompt | Self::Template | Self::Agent => &[],
            Self::Integration => {
                &["/auth/token", "/auth/password", "/auth/value", "/webhook/secret", "/base_url"]
            }
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Thing {
    /// Its place in the order of creation.
    pub(super) fn order(&self) -> Option<Kind> {
        match self {
            Self::Named { kind, .. } => Some(*kind),
            Self::Workflow { .. } => None,
        }
    }
}

/// Reads all the files and directories, in an order in which they can be created; all that is
/// wrong with any of them at once.
pub(super) fn read(paths: &[PathBuf], environment: &Environment) -> Result<Vec<Resource>, Failure> {
    let mut resources = Vec::new();
    let mut faults = Vec::new();
    for path in files(paths)? {
        let file = path.display().to_string();
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        match parse(&path, text, environment) {
            Ok(thing) => resources.push(Resource { file, thing }),
            Err(found) => faults
                .extend(found.into_iter().map(|fault| FileFault { file: file.clone(), fault })),
        }
    }
    if !faults.is_empty() {
        return Err(Failure::Faults(faults));
    }
    // Workflows come last: they name all the others.
    resources.sort_by_key(|resource| {
        let order = resource.thing.order();
        (order.is_none(), order)
    });
    Ok(resources)
}

/// The files themselves, and the YAML files directly in the directories.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|error| unreadable(path, &error))?;
        let mut found: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
        found.retain(|file| {
            file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
        });
        if found.is_empty() {
            let path = path.display();
            return Err(Failure::Usage(format!("there are no YAML files in {path}")));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Says which file cannot be read, and why.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("cannot read {}: {error}", path.display()))
}

fn parse(path: &Path, text: String, environment: &Environment) -> Result<Thing, Vec<Fault>> {
    let value: Value = serde_yaml_ng::from_str(&text).map_err(|error| {
        let fault = Fault::new("", "invalid_yaml", error.to_string());
        let line = error.location().and_then(|place| u32::try_from(place.line()).ok());
        vec![match line {
            Some(line) => fault.at_line(line),
            None => fault,
        }]
    })?;
    if let Some(document) = value.get("document") {
        let word = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
        return Ok(Thing::Workflow { namespace: word("namespace"), name: word("name"), text });
    }
    let Value::Object(mut body) = value else {
        return Err(vec![Fault::new("", "wrong_type", "this is not a mapping")]);
    };
    let kind = kind_of(path, body.remove("kind").as_ref()).map_err(|fault| vec![fault])?;
    let Some(name) = body.get("name").and_then(Value::as_str).map(str::to_owned) else {
        return Err(vec![Fault::new("/name", "missing_field", "it needs a name")]);
    };
    let mut body = Value::Object(body);
    let faults = put_variables(kind, &mut body, environment);
    if faults.is_empty() { Ok(Thing::Named { kind, name, body }) } else { Err(faults) }
}

/// What `kind` says, or else the file's name: `agent.yaml`, or `triage.agent.yaml`.
fn kind_of(path: &Path, kind: Option<&Value>) -> Result<Kind, Fault> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let word = match kind {
        Some(kind) => kind.as_str().unwrap_or_default(),
        None => stem.rsplit('.').next().unwrap_or_default(),
    };
    Kind::named(word).ok_or_else(|| {
        let hint = "write a workflow's `document`, or `kind: ` and one of agent, integration, \
                    prompt, template";
        Fault::new("/kind", "unknown_kind", "this is nothing that can be applied").hint(hint)
    })
}

/// Puts the environment's values in place of `${NAME}`, where that is allowed.
fn put_variables(kind: Kind, body: &mut Value, environment: &Environment) -> Vec<Fault> {
    let mut faults = Vec::new();
    for pointer in kind.variables() {
        let Some(Value::String(text)) = body.pointer_mut(pointer) else { continue };
        let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            continue;
        };
        if let Some(value) = environment.get(name) {
            value.clone_into(text);
        } else {
            let detail = format!("the environment has no {name}");
            let hint = format!("export {name}");
            faults.push(Fault::new(*pointer, "missing_variable", detail).hint(hint));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment() -> Environment {
        [("HOOK_SECRET".to_owned(), "s3cret".to_owned())].into_iter().collect()
    }

    fn parsed(file: &str, text: &str) -> Result<Thing, Vec<Fault>> {
        parse(Path::new(file), text.to_owned(), &environment())
    }

    fn named(file: &str, text: &str) -> (Kind, String, Value) {
        match parsed(file, text).unwrap() {
            Thing::Named { kind, name, body } => (kind, name, body),
            Thing::Workflow { .. } => panic!("a workflow"),
        }
    }

    #[test]
    fn a_document_is_a_workflow_and_its_text_is_kept() {
        let text = "document: {dsl: 1.0.0, namespace: a, name: b, version: 1.0.0} # mine\ndo: []\n";
        let Thing::Workflow { namespace, name, text: kept } = parsed("x.yaml", text).unwrap()
        else {
            panic!("not a workflow")
        };
        assert_eq!((namespace.as_str(), name.as_str(), kept.as_str()), ("a", "b", text));
    }

    #[test]
    fn the_kind_or_the_name_of_the_file_says_what_it_is() {
        let (kind, name, body) = named("x.yaml", "{kind: agent, name: a, provider: sandbox}");
        assert_eq!((kind, name.as_str()), (Kind::Agent, "a"));
        assert_eq!(body, json!({"name": "a", "provider": "sandbox"}));
        assert_eq!(named("dir/prompt.yaml", "{name: p, user: hi}").0, Kind::Prompt);
        assert_eq!(named("mail.template.yml", "{name: t}").0, Kind::Template);
        let faults = parsed("values.yaml", "{name: x}").unwrap_err();
        assert_eq!(faults[0].code, "unknown_kind");
    }

    #[test]
    fn secrets_come_from_the_environment_and_only_where_secrets_go() {
        let text = "{name: i, description: '${HOOK_SECRET}', base_url: 'https://x',
            webhook: {secret: '${HOOK_SECRET}'}, auth: {type: bearer, token: 'x${HOOK_SECRET}'}}";
        let (_, _, body) = named("integration.yaml", text);
        assert_eq!(body["webhook"]["secret"], "s3cret");
        assert_eq!(body["description"], "${HOOK_SECRET}");
        assert_eq!(body["auth"]["token"], "x${HOOK_SECRET}");
    }

    #[test]
    fn a_variable_that_is_not_set_is_named_with_its_place() {
        let text = "{name: i, webhook: {secret: '${OTHER}'}, base_url: '${WHERE}'}";
        let faults = parsed("integration.yaml", text).unwrap_err();
        let places: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["/webhook/secret", "/base_url"]);
        assert!(faults[0].detail.contains("OTHER"));
    }

    #[test]
    fn bad_yaml_is_told_with_its_line() {
        assert_eq!(parsed("agent.yaml", "a: 1\nb: [").unwrap_err()[0].line, Some(3));
        assert_eq!(parsed("agent.yaml", "- 1").unwrap_err()[0].code, "wrong_type");
    }

    #[test]
    fn a_directory_is_read_in_the_order_of_creation() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("a.yaml", "document: {namespace: n, name: w}"),
            ("agent.yaml", "name: a"),
            ("prompt.yaml", "name: p"),
            ("z.yml", "{kind: integration, name: i}"),
            ("README.md", "no"),
        ] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let read = read(&[dir.path().to_owned()], &environment()).unwrap();
        let order: Vec<Option<Kind>> = read.iter().map(|found| found.thing.order()).collect();
        assert_eq!(order, [Some(Kind::Prompt), Some(Kind::Agent), Some(Kind::Integration), None]);
    }
}
