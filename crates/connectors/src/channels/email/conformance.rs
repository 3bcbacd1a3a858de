//! What every [`Email`] must do; run against each implementation, and what only a server can.

use crate::double::{self, Mail, Sink};

use super::{Email, Mailbox, Message, SendError, Smtp};

fn message() -> Message {
    Message {
        from: "Everstep <no-reply@everstep.example>".to_owned(),
        to: vec!["ada@example.org".to_owned()],
        subject: "Build 7 is green".to_owned(),
        text: "All 700 tests passed.\n.\nThat is all.\n".to_owned(),
        html: None,
        message_id: "0190f9f2-0000-7000-8000-000000000001@everstep.example".to_owned(),
    }
}

fn to(address: &str) -> Message {
    Message { to: vec![address.to_owned()], ..message() }
}

/// The value of a header field, unfolded.
fn field(mail: &Mail, name: &str) -> Option<String> {
    let (head, _) = mail.data.split_once("\r\n\r\n")?;
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let value = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))?;
    Some(value.to_owned())
}

/// Runs the whole suite; `received` tells what has arrived, in any order.
async fn check(email: &dyn Email, received: impl Fn() -> Vec<Mail>) {
    a_message_arrives_with_its_header_fields(email, &received).await;
    an_html_body_comes_beside_the_text(email, &received).await;
    words_of_all_languages_arrive(email, &received).await;
    a_line_break_cannot_add_a_header_field(email, &received).await;
    what_is_not_an_email_is_refused_for_good(email, &received).await;
}

async fn arrived(email: &dyn Email, received: &dyn Fn() -> Vec<Mail>, message: &Message) -> Mail {
    let sent = email.send(message).await.expect("is taken");
    assert_eq!(sent.message_id, message.message_id);
    let id = format!("<{}>", message.message_id);
    let mut mails = received();
    mails.retain(|mail| field(mail, "Message-ID").as_ref() == Some(&id));
    assert_eq!(mails.len(), 1, "arrived once");
    mails.remove(0)
}

fn with_id(nth: u32, message: Message) -> Message {
    Message { message_id: format!("n-{nth}@everstep.example"), ..message }
}

async fn a_message_arrives_with_its_header_fields(
    email: &dyn Email,
    received: &dyn Fn() -> Vec<Mail>,
) {
    let several = vec!["ada@example.org".to_owned(), "Bob <bob@example.org>".to_owned()];
    let mail = arrived(email, received, &Message { to: several, ..message() }).await;
    let expected = [
        ("From", "Everstep <no-reply@everstep.example>"),
        ("To", "ada@example.org, Bob <bob@example.org>"),
        ("Subject", "Build 7 is green"),
        ("Auto-Submitted", "auto-generated"),
        ("MIME-Version", "1.0"),
    ];
    for (name, value) in expected {
        assert_eq!(field(&mail, name).as_deref(), Some(value));
    }
    assert!(field(&mail, "Date").is_some());
    assert!(mail.data.contains("\r\n\r\nAll 700 tests passed.\r\n.\r\nThat is all."), "{mail:?}");
}

async fn an_html_body_comes_beside_the_text(email: &dyn Email, received: &dyn Fn() -> Vec<Mail>) {
    let html = Some("<b>green</b>".to_owned());
    let mail = arrived(email, received, &with_id(2, Message { html, ..message() })).await;
    assert!(field(&mail, "Content-Type").unwrap().starts_with("multipart/alternative"));
    let at = |text: &str| mail.data.find(text).unwrap();
    assert!(at("text/plain") < at("All 700") && at("All 700") < at("text/html"));
    assert!(at("text/html") < at("<b>green</b>"));
}

async fn words_of_all_languages_arrive(email: &dyn Email, received: &dyn Fn() -> Vec<Mail>) {
    let subject = "Grün 緑".to_owned();
    let mail = arrived(email, received, &with_id(3, Message { subject, ..message() })).await;
    let subject = field(&mail, "Subject").unwrap();
    assert!(subject.is_ascii() && subject.contains("=?utf-8?"), "{subject}");
}

async fn a_line_break_cannot_add_a_header_field(
    email: &dyn Email,
    received: &dyn Fn() -> Vec<Mail>,
) {
    let subject = "Hello\r\nBcc: eve@example.org\n\nbody\n".to_owned();
    let mail = arrived(email, received, &with_id(4, Message { subject, ..message() })).await;
    assert_eq!(field(&mail, "Subject").unwrap(), "Hello Bcc: eve@example.org body");
    assert_eq!(field(&mail, "Bcc"), None);
}

async fn what_is_not_an_email_is_refused_for_good(
    email: &dyn Email,
    received: &dyn Fn() -> Vec<Mail>,
) {
    let before = received().len();
    let id = |id: &str| Message { message_id: id.to_owned(), ..message() };
    let messages = [
        to("nonsense"),
        to("a@b.example\r\nBcc: eve@example.org"),
        to("<>"),
        Message { to: vec![], ..message() },
        Message { from: "nobody at all".to_owned(), ..message() },
        id("no-host"),
        id("../../etc/passwd@host"),
        id("a@b>\r\nBcc: eve@example.org"),
    ];
    for message in messages {
        let error = email.send(&message).await.unwrap_err();
        assert!(error.permanent, "{message:?}: {error}");
        assert!(!error.detail.contains('\n'));
    }
    assert_eq!(received().len(), before);
}

fn smtp(url: &str) -> Smtp {
    Smtp::new(&url.into()).unwrap()
}

#[tokio::test]
async fn smtp_conforms() {
    let sink = Sink::start().await;
    check(&smtp(&sink.url()), || sink.mails()).await;
    assert_eq!(sink.mails()[0].to, ["ada@example.org", "bob@example.org"]);
}

fn captured(mailbox: &Mailbox) -> Vec<Mail> {
    let files = std::fs::read_dir(mailbox.directory()).unwrap();
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.unwrap().path();
        assert_eq!(path.extension().unwrap(), "eml");
        Mail { to: vec![], data: std::fs::read_to_string(path).unwrap() }
    };
    files.map(read).collect()
}

#[tokio::test]
async fn the_mailbox_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::new(directory.path().join("mail")).unwrap();
    check(&mailbox, || captured(&mailbox)).await;
}

#[tokio::test]
async fn the_mailbox_keeps_one_of_a_message_that_comes_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::new(directory.path()).unwrap();
    for _ in 0..2 {
        assert_eq!(mailbox.send(&message()).await.unwrap().via, "mailbox");
    }
    assert_eq!(captured(&mailbox).len(), 1);
}

#[tokio::test]
async fn a_mailbox_that_cannot_be_written_may_be_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::new(directory.path().join("mail")).unwrap();
    std::fs::remove_dir(mailbox.directory()).unwrap();
    assert!(!mailbox.send(&message()).await.unwrap_err().permanent);
}

#[tokio::test]
async fn what_a_server_refuses_is_final_or_not_by_its_word() {
    let sink = Sink::start().await;
    let server = smtp(&sink.url());
    let table = [
        ("nobody@example.org", true, "the mail server answered 550 5.1.1 no such user"),
        ("later@example.org", false, "the mail server answered 451 4.7.1 greylisted"),
        ("full@example.org", false, "the mail server answered 552 5.2.2 the mailbox is full"),
        ("cut@example.org", false, "the mail server broke off, or does not speak SMTP"),
    ];
    for (recipient, permanent, detail) in table {
        let error = server.send(&to(recipient)).await.unwrap_err();
        assert_eq!(error, SendError { permanent, detail: detail.to_owned() }, "{recipient}");
    }
    // One refused recipient refuses the message, and the connection still serves.
    let both = vec!["ada@example.org".to_owned(), "nobody@example.org".to_owned()];
    assert!(server.send(&Message { to: both, ..message() }).await.is_err());
    assert_eq!(sink.mails(), []);
    assert_eq!(server.send(&message()).await.unwrap().via, "smtp");
}

#[tokio::test]
async fn a_login_that_is_refused_is_our_fault_and_not_the_messages() {
    let sink = Sink::start().await;
    let address = sink.address;
    smtp(&format!("smtp://user:right@{address}")).send(&message()).await.expect("logs in");
    let wrong = smtp(&format!("smtp://user:wrong@{address}"));
    let error = wrong.send(&message()).await.unwrap_err();
    let detail = "the mail server refuses the login (535)".to_owned();
    assert_eq!(error, SendError { permanent: false, detail });
}

#[tokio::test]
async fn a_server_that_is_none_or_not_there_may_be_tried_again() {
    for address in [double::nobody().await, double::blurting("HTTP/1.1 400\r\n\r\n").await] {
        let error = smtp(&format!("smtp://{address}")).send(&message()).await.unwrap_err();
        assert!(!error.permanent, "{error}");
    }
}
