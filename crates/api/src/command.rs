//! What all commands have in common: who, with which body, under which conditions; and how they
//! are answered.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request as HttpRequest};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Aggregate, Fact, Fault, Id, Tenant};
use eventstore::{
    Answered, CommandKey, ExecuteError, Held, Keyed, Metadata, Position, Reply, Request, StreamId,
    Version,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::caller::Caller;
use crate::gateway::BODY_LIMIT;
use crate::{App, Problem, json};

/// The longest `Idempotency-Key`, in characters.
const KEY_LIMIT: usize = 255;

/// A command as it came in.
pub(crate) struct Command<B> {
    pub(crate) caller: Caller,
    /// The version the caller insists on (`If-Match`).
    pub(crate) if_match: Option<Version>,
    /// The key under which the answer is kept (`Idempotency-Key`).
    pub(crate) key: Option<CommandKey>,
    /// Streams that the caller did not name and on which it is decided, as they were then.
    pub(crate) given: Vec<(StreamId, Version)>,
    pub(crate) body: B,
}

/// A body of a certain form.
pub(crate) trait Payload: Sized {
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, Problem>;
}

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

/// A JSON body with a name besides the settings: two types, neither of which takes fields that it
/// does not know.
pub(crate) struct NamedJson<T> {
    pub(crate) name: String,
    pub(crate) settings: T,
}

/// No body, or one that is not looked at.
pub(crate) struct Nothing;

/// A workflow document: YAML or JSON, as the author wrote it.
pub(crate) struct Document(pub(crate) String);

impl<T: DeserializeOwned> Payload for Json<T> {
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, Problem> {
        json_body(headers, bytes).and_then(|value| json::typed(value).map_err(refused)).map(Self)
    }
}

impl<T: DeserializeOwned> Payload for NamedJson<T> {
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, Problem> {
        let mut value = json_body(headers, bytes)?;
        let name = match value.as_object_mut().and_then(|members| members.remove("name")) {
            Some(Value::String(name)) => name,
            Some(_) => return Err(refused(Fault::new("/name", "wrong_type", "a name is text"))),
            None => {
                return Err(refused(Fault::new("", "missing_field", "missing field `name`")));
            }
        };
        Ok(Self { name, settings: json::typed(value).map_err(refused)? })
    }
}

fn json_body(headers: &HeaderMap, bytes: &Bytes) -> Result<Value, Problem> {
    media_type(headers, &["application/json"])?;
    // Nothing at all is an empty object: every member of it may be left out or is missed.
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    let body: Value = json::read(text).map_err(refused)?;
    // Types could be read from lists as well, member by member in the order of declaration.
    if !body.is_object() {
        return Err(refused(Fault::new("", "wrong_type", "the body must be a JSON object")));
    }
    Ok(body)
}

fn refused(fault: Fault) -> Problem {
    if fault.code == "malformed_json" {
        return Problem::malformed(fault);
    }
    Problem::invalid("request_invalid", vec![fault])
}

impl Payload for Nothing {
    fn read(_: &HeaderMap, _: &Bytes) -> Result<Self, Problem> {
        Ok(Self)
    }
}

impl Payload for Document {
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, Problem> {
        let kinds = ["application/yaml", "text/yaml", "application/x-yaml", "application/json"];
        media_type(headers, &kinds)?;
        let text = std::str::from_utf8(bytes).map_err(|error| {
            Problem::malformed(Fault::new(
                "",
                "not_utf8",
                format!("the document is not UTF-8: {error}"),
            ))
        })?;
        Ok(Self(text.to_owned()))
    }
}

/// Refuses a body of another type; a body without a type is taken at its word.
fn media_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if allowed.iter().any(|allowed| kind.eq_ignore_ascii_case(allowed)) {
        return Ok(());
    }
    let detail = format!("send {} instead of `{kind}`", allowed.join(" or "));
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

impl<B: Payload> FromRequest<App> for Command<B> {
    type Rejection = Problem;

    async fn from_request(request: HttpRequest, app: &App) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, app).await?;
        Self::of(caller, &parts, &read_body(body, BODY_LIMIT).await?)
    }
}

impl<B: Payload> Command<B> {
    /// A command of a caller, with its whole body.
    pub(crate) fn of(caller: Caller, parts: &Parts, bytes: &Bytes) -> Result<Self, Problem> {
        // Without the query: how long to wait for an answer is no part of the command.
        let target = parts.uri.path();
        let key = key(&parts.headers)?.map(|key| {
            let mut hash = Sha256::new();
            for part in [parts.method.as_str().as_bytes(), b" ", target.as_bytes(), b"\n", bytes] {
                hash.update(part);
            }
            CommandKey {
                principal: caller.key,
                key: format!("{} {} {key}", parts.method, parts.uri.path()),
                fingerprint: hash.finalize().into(),
            }
        });
        let if_match = if_match(&parts.headers)?;
        Ok(Self { caller, if_match, key, given: vec![], body: B::read(&parts.headers, bytes)? })
    }
}

impl Command<Nothing> {
    /// Deletes what a path names, in the version that the caller knows; `missing` is the code and
    /// the word for what is not there.
    pub(crate) async fn delete<A: Aggregate>(
        &self,
        app: &App,
        which: &str,
        missing: (&'static str, &str),
        delete: &A::Command,
    ) -> Result<Response, Problem> {
        let id: Id<A> = id(which, missing.0, missing.1)?;
        self.precondition()?;
        let (status, view) = (StatusCode::NO_CONTENT, |_: &A| ());
        let answer = Answer { status, location: None, view: &view };
        Ok(self.execute(app, id, delete, answer).await?.into_response())
    }
}

/// The whole body, if it is not longer than allowed.
pub(crate) async fn read_body(body: axum::body::Body, limit: usize) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, limit).await.map_err(|_| {
        let detail = format!("the body is longer than {limit} bytes, or was cut off");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail)
    })
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    // The draft has it in quotes (RFC 8941 string); most clients leave them out.
    let text = value.to_str().unwrap_or_default().trim().trim_matches('"');
    if text.is_empty() || text.chars().count() > KEY_LIMIT {
        let detail = format!("Idempotency-Key must have 1 to {KEY_LIMIT} visible ASCII characters");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "idempotency_key_invalid", detail));
    }
    Ok(Some(text))
}

fn if_match(headers: &HeaderMap) -> Result<Option<Version>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim().trim_matches('"');
    text.parse().map(Some).map_err(|_| {
        let detail = "If-Match must be the ETag of the last answer, such as \"3\"";
        Problem::new(StatusCode::BAD_REQUEST, "if_match_invalid", detail)
    })
}

impl<B> Command<B> {
    /// The version that a change must name.
    pub(crate) fn precondition(&self) -> Result<Version, Problem> {
        self.if_match.ok_or_else(|| {
            let detail =
                "name the version you are changing: If-Match with the ETag of the last answer";
            Problem::new(StatusCode::PRECONDITION_REQUIRED, "precondition_required", detail)
        })
    }

    /// The answer to this very command, if it was given before.
    pub(crate) async fn replayed(&self, app: &App) -> Result<Option<Done>, Problem> {
        let Some(CommandKey { principal, key, fingerprint }) = &self.key else { return Ok(None) };
        let answered = app.log.answered(self.caller.tenant, *principal, key).await?;
        let same = answered.filter(|answered| answered.fingerprint == *fingerprint);
        Ok(same.map(|Answered { reply, position, version, .. }| Done {
            reply,
            version,
            position,
            replayed: true,
        }))
    }

    /// Gives a command to an aggregate and answers with what `view` makes of its new state.
    pub(crate) async fn execute<A: Aggregate, V: Serialize>(
        &self,
        app: &App,
        id: Id<A>,
        command: &A::Command,
        answer: Answer<'_, A, V>,
    ) -> Result<Done, Problem> {
        let held = Held::new(self.caller.tenant, id);
        Ok(self.carry_out(app, held, command, answer).await?.done)
    }

    /// Gives the command that makes an aggregate, whose id was made for it; tells what happened to it.
    pub(crate) async fn begin<A: Aggregate, V: Serialize>(
        &self,
        app: &App,
        id: Id<A>,
        command: &A::Command,
        answer: Answer<'_, A, V>,
    ) -> Result<Begun, ExecuteError<A::Refusal>> {
        self.carry_out(app, Held::unborn(self.caller.tenant, id), command, answer).await
    }

    async fn carry_out<A: Aggregate, V: Serialize>(
        &self,
        app: &App,
        mut held: Held<A>,
        command: &A::Command,
        answer: Answer<'_, A, V>,
    ) -> Result<Begun, ExecuteError<A::Refusal>> {
        let reply = |state: &A| Reply {
            status: answer.status.as_u16(),
            location: answer.location.clone(),
            body: serde_json::to_string(&(answer.view)(state)).unwrap_or_default(),
        };
        let request = Request {
            meta: self.caller.meta(&app.clock),
            if_match: self.if_match,
            reply: self.key.clone().map(|key| Keyed { key, reply: &reply }),
            fence: None,
            given: self.given.clone(),
        };
        match held.execute(&*app.log, command, &request).await {
            Ok(_) => {
                let Held { state, version, position, added, .. } = held;
                let done = Done { reply: reply(&state), version, position, replayed: false };
                Ok(Begun { done, added, meta: request.meta })
            }
            Err(ExecuteError::Replayed(Answered { reply, position, version, .. })) => {
                let done = Done { reply, version, position, replayed: true };
                Ok(Begun { done, added: vec![], meta: request.meta })
            }
            Err(error) => Err(error),
        }
    }
}

/// What became of a command, with what happened because of it.
pub(crate) struct Begun {
    pub(crate) done: Done,
    /// What happened; nothing if the command was answered before.
    pub(crate) added: Vec<Arc<Fact>>,
    /// Under which circumstances.
    pub(crate) meta: Metadata,
}

/// How a command is answered when it was carried out.
pub(crate) struct Answer<'a, A, V> {
    pub(crate) status: StatusCode,
    /// Where the thing that was made is found.
    pub(crate) location: Option<String>,
    /// The body.
    pub(crate) view: View<'a, A, V>,
}

impl<'a, A, V> Answer<'a, A, V> {
    /// Something was made, and is found at `location`.
    pub(crate) fn created(location: Option<String>, view: View<'a, A, V>) -> Self {
        Self { status: StatusCode::CREATED, location, view }
    }

    /// Something is as it was asked to be.
    pub(crate) fn changed(view: View<'a, A, V>) -> Self {
        Self { status: StatusCode::OK, location: None, view }
    }

    /// Something was begun whose end can be seen at `location`.
    pub(crate) fn accepted(location: Option<String>, view: View<'a, A, V>) -> Self {
        Self { status: StatusCode::ACCEPTED, location, view }
    }
}

/// What is shown of an aggregate.
type View<'a, A, V> = &'a (dyn Fn(&A) -> V + Send + Sync);

/// A command that was carried out, now or when it was first sent.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) reply: Reply,
    pub(crate) version: Version,
    pub(crate) position: Position,
    pub(crate) replayed: bool,
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.reply.status).unwrap_or(StatusCode::OK);
        let mut response = if status == StatusCode::NO_CONTENT {
            status.into_response()
        } else {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (status, kind, self.reply.body).into_response()
        };
        let headers = response.headers_mut();
        set(headers, "etag", &format!("\"{}\"", self.version));
        set(headers, "x-position", &self.position.to_string());
        if let Some(location) = &self.reply.location {
            set(headers, "location", location);
        }
        if self.replayed {
            set(headers, "idempotency-replayed", "true");
        }
        response
    }
}

/// Sets a header field; what is no valid value is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Reads an id from a path: what is no UUID names nothing.
pub(crate) fn id<T>(text: &str, code: &'static str, what: &str) -> Result<Id<T>, Problem> {
    Uuid::parse_str(text).map(Id::from_uuid).map_err(|_| Problem::not_found(code, what))
}

/// Waits until an aggregate is as wanted: its state and the position from which on readers see it
/// so, or nothing if that takes longer, or longer than this process is there.
pub(crate) async fn until<A: Aggregate>(
    app: &App,
    tenant: Id<Tenant>,
    id: Id<A>,
    most: Duration,
    wanted: &(dyn Fn(&A) -> bool + Send + Sync),
) -> Result<Option<(A, Position)>, Problem> {
    let deadline = Instant::now() + most;
    let mut ear = app.moves.listen(StreamId::of(tenant, id));
    let mut known = Held::new(tenant, id);
    let mut leaving = app.leaving.clone();
    loop {
        known.catch_up(&*app.log).await?;
        if wanted(&known.state) {
            return Ok(Some((known.state, known.position)));
        }
        tokio::select! {
            moved = timeout_at(deadline, ear.moved()) => if moved.is_err() { return Ok(None) },
            Ok(_) = leaving.wait_for(|leaving| *leaving) => return Ok(None),
        }
    }
}
