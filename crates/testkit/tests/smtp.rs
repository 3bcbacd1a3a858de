//! The mail server against a real client, and against hand-written lines.

use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use testkit::smtp::{Fault, Sink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn transport(sink: &Sink) -> AsyncSmtpTransport<Tokio1Executor> {
    AsyncSmtpTransport::<Tokio1Executor>::from_url(&sink.url()).expect("a URL").build()
}

fn mail(subject: &str) -> Message {
    Message::builder()
        .from("Everstep <from@example.com>".parse().expect("an address"))
        .to("to@example.com".parse().expect("an address"))
        .subject(subject)
        .body(".dots\r\n..stay\r\n".to_owned())
        .expect("a message")
}

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let sink = Sink::start().await.expect("starts");
    transport(&sink).send(mail("One")).await.expect("sent");

    let messages = sink.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].from, "from@example.com");
    assert_eq!(messages[0].to, ["to@example.com"]);
    assert_eq!(messages[0].header("Subject").as_deref(), Some("One"));
    assert_eq!(messages[0].body().trim_end(), ".dots\r\n..stay");
}

#[tokio::test]
async fn refusals_end_after_as_many_as_were_told() {
    let sink = Sink::start().await.expect("starts");
    sink.fail_next(1, Fault::Refuse(451));
    sink.fail_next(1, Fault::Refuse(550));
    let transport = transport(&sink);

    let first = transport.send(mail("One")).await.expect_err("refused for now");
    let second = transport.send(mail("One")).await.expect_err("refused for good");
    transport.send(mail("One")).await.expect("sent");

    assert!(first.is_transient() && second.is_permanent());
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test]
async fn a_hang_up_keeps_the_message_and_tells_nobody() {
    let sink = Sink::start().await.expect("starts");
    sink.fail_next(1, Fault::HangUp);
    transport(&sink).send(mail("One")).await.expect_err("no reply");
    assert_eq!(sink.messages().len(), 1);
}

/// What the server says to all of `lines`, sent at once.
async fn say(sink: &Sink, lines: &str) -> String {
    let address = sink.url().replace("smtp://", "");
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(lines.as_bytes()).await.expect("written");
    let mut replies = String::new();
    stream.read_to_string(&mut replies).await.expect("replies until it hangs up");
    replies
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let sink = Sink::start().await.expect("starts");
    let replies = say(
        &sink,
        "EHLO me\r\nMAIL FROM:<ä@example.com> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<b@example.com>\r\n\
         DATA\r\nSubject: x\r\n\r\n..a\r\n.\r\nQUIT\r\n",
    )
    .await;
    let codes: Vec<&str> = replies.lines().filter_map(|line| line.get(..4)).collect();
    let wanted = ["220 ", "250-", "250-", "250-", "250 ", "250 ", "250 ", "354 ", "250 ", "221 "];
    assert_eq!(codes, wanted);
    assert_eq!(sink.messages()[0].raw, "Subject: x\r\n\r\n.a\r\n");
}

#[tokio::test]
async fn commands_out_of_order_are_refused() {
    let sink = Sink::start().await.expect("starts");
    let replies = say(
        &sink,
        "RCPT TO:<b@example.com>\r\nMAIL FROM:<a@example.com>\r\nMAIL FROM:<a@example.com>\r\n\
         DATA\r\nRCPT TO:nobody\r\nMAIL\r\nJUMP\r\nQUIT\r\n",
    )
    .await;
    let codes: Vec<&str> = replies.lines().filter_map(|line| line.get(..3)).collect();
    assert_eq!(codes, ["220", "503", "250", "503", "503", "501", "503", "500", "221"]);
    assert!(sink.messages().is_empty());
}
