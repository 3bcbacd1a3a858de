//! Message brokers that speak AMQP 0-9-1, such as `RabbitMQ`.
//!
//! The broker is one that the operator names on the command line, as the database is; no workflow
//! and no tenant can name one, so the rules of egress are not asked.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use domain::Timestamp;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind,
    ExchangeKind, PublisherConfirm,
};
use tokio::time::timeout;
use uuid::Uuid;

/// How long a broker may take to let us in, and to confirm a message.
const PATIENCE: Duration = Duration::from_secs(30);
/// The delivery mode of what survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// Where a broker is. What is shown of it has no name and no password.
#[derive(Clone)]
pub struct Broker(AMQPUri);

/// An exchange of a broker, and the connection to it.
#[derive(Debug)]
pub struct Exchange {
    connection: Connection,
    channel: Channel,
    name: ShortString,
}

/// What is published. It is persistent.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its identity, by which receivers know one that comes twice.
    pub id: Uuid,
    /// What those that belong together share.
    pub correlation: Uuid,
    /// What it is, such as `execution.started`.
    pub kind: String,
    /// Decides with the exchange which queues it goes to.
    pub routing_key: String,
    /// The media type of the body.
    pub content_type: &'static str,
    /// When it came to be.
    pub at: Timestamp,
    /// More about it.
    pub headers: BTreeMap<&'static str, Header>,
    /// What it says.
    pub body: Vec<u8>,
}

/// A value of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
}

/// A message that the broker has not confirmed yet.
#[derive(Debug)]
pub struct Pending(PublisherConfirm);

/// Why something was not published. None of them shows a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no URL of a broker. What it is instead may be a password and is not repeated.
    #[error("it is not of the form amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps://")]
    Url,
    /// Names of exchanges, routing keys and types have 255 bytes at most.
    #[error("the {0} is longer than 255 bytes")]
    TooLong(&'static str),
    /// There is no such exchange.
    #[error("{broker} has no exchange '{name}'")]
    NoExchange {
        /// Where it was looked for, without name and password.
        broker: String,
        /// Its name.
        name: String,
    },
    /// The broker refused to take a message.
    #[error("the broker refused a message")]
    Refused,
    /// Nothing was heard of the broker in time.
    #[error("the broker did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// Anything else.
    #[error("the broker: {0}")]
    Failed(#[from] lapin::Error),
}

impl Broker {
    /// The broker at a URL: `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps://` with TLS.
    pub fn parse(url: &str) -> Result<Self, Error> {
        url.parse().map(Self).map_err(|_| Error::Url)
    }

    /// Connects, and looks whether the exchange is there. It is never made.
    pub async fn exchange(&self, name: &str) -> Result<Exchange, Error> {
        let name = short("name of the exchange", name)?;
        timeout(PATIENCE, self.open(name)).await.map_err(|_| Error::Silent)?
    }

    async fn open(&self, name: ShortString) -> Result<Exchange, Error> {
        let called = LongString::from("everstep");
        let properties = ConnectionProperties::default().with_connection_name(called);
        let connection = Connection::connect_uri(self.0.clone(), properties).await?;
        let channel = connection.create_channel().await?;
        // A passive declaration asks, and its kind means nothing.
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let nothing = FieldTable::default();
        let found =
            channel.exchange_declare(name.clone(), ExchangeKind::Topic, options, nothing).await;
        found.map_err(|error| {
            let soft = AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND);
            if let ErrorKind::ProtocolError(told) = error.kind()
                && *told.kind() == soft
            {
                return Error::NoExchange { broker: self.to_string(), name: name.to_string() };
            }
            Error::Failed(error)
        })?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Exchange { connection, channel, name })
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(AMQPUri { scheme, authority, vhost, .. }) = self;
        let scheme = match scheme {
            AMQPScheme::AMQP => "amqp",
            AMQPScheme::AMQPS => "amqps",
        };
        write!(f, "{scheme}://{}:{}/{}", authority.host, authority.port, vhost.replace('/', "%2f"))
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Exchange {
    /// Sends a message. It is published once [`Pending::settled`] says so; those that were sent one
    /// after the other arrive so.
    pub async fn publish(&self, message: &Message) -> Result<Pending, Error> {
        let mut headers = FieldTable::default();
        for (name, value) in &message.headers {
            let value = match value {
                Header::Flag(flag) => AMQPValue::Boolean(*flag),
                Header::Text(text) => AMQPValue::LongString(text.as_str().into()),
            };
            headers.insert(short("name of a header", name)?, value);
        }
        let properties = BasicProperties::default()
            .with_message_id(message.id.to_string().into())
            .with_correlation_id(message.correlation.to_string().into())
            .with_type(short("type", &message.kind)?)
            .with_content_type(message.content_type.into())
            .with_timestamp(message.at.timestamp().try_into().unwrap_or_default())
            .with_delivery_mode(PERSISTENT)
            .with_app_id("everstep".into())
            .with_headers(headers);
        // Mandatory: what no queue takes comes back, so that it can be told.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let key = short("routing key", &message.routing_key)?;
        let sent =
            self.channel.basic_publish(self.name.clone(), key, options, &message.body, properties);
        let sent = timeout(PATIENCE, sent).await.map_err(|_| Error::Silent)?;
        Ok(Pending(sent?))
    }

    /// Ends the connection in order.
    pub async fn close(self) -> Result<(), Error> {
        let closed = self.connection.close(200, "done".into());
        Ok(timeout(PATIENCE, closed).await.map_err(|_| Error::Silent)??)
    }
}

impl Pending {
    /// Waits until the broker has taken the message over: whether a queue has it. If none does, the
    /// broker has dropped it, as it was told to.
    pub async fn settled(self) -> Result<bool, Error> {
        match timeout(PATIENCE, self.0).await.map_err(|_| Error::Silent)?? {
            Confirmation::Ack(returned) => Ok(returned.is_none()),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(Error::Refused),
        }
    }
}

fn short(what: &'static str, text: &str) -> Result<ShortString, Error> {
    ShortString::try_new(text).map_err(|_| Error::TooLong(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_shown_without_its_password() {
        let broker = Broker::parse("amqps://me:hunter2@broker.example/things").unwrap();
        assert_eq!(broker.to_string(), "amqps://broker.example:5671/things");
        assert_eq!(format!("{broker:?}"), broker.to_string());
        let broker = Broker::parse("amqp://me:hunter2@127.0.0.1").unwrap();
        assert_eq!(broker.to_string(), "amqp://127.0.0.1:5672/%2f");
    }

    #[test]
    fn what_is_no_url_is_not_repeated() {
        for text in ["hunter2", "postgres://me:hunter2@host/x", "amqp://me:hunter2@host:x", ""] {
            let error = Broker::parse(text).unwrap_err();
            assert!(matches!(error, Error::Url), "{error:?}");
            assert!(!format!("{error}{error:?}").contains("hunter2"));
        }
    }
}
