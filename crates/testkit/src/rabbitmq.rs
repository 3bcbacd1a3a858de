//! A `RabbitMQ` of a test's own: the real broker, on free ports of loopback, with its files in a
//! directory that goes with it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::processes::{descendants, free_port, signal};

/// How long a start may take on a machine that does much else.
const START_LIMIT: Duration = Duration::from_mins(2);
/// Where Debian has the server itself; the one in its PATH wants to be root.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A broker. It ends, with all its processes, when this is dropped.
#[derive(Debug)]
pub struct Broker {
    dir: TempDir,
    port: u16,
    names: Child,
    node: Child,
}

/// A message as a queue had it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The routing key it came with.
    pub routing_key: String,
    /// Its properties, headers among them.
    pub properties: BasicProperties,
    /// What it says.
    pub body: Vec<u8>,
}

impl Received {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.properties.headers().as_ref()?.inner().get(name)?;
        let text = || value.as_long_string().map(ToString::to_string);
        text().or_else(|| value.as_bool().map(|flag| flag.to_string()))
    }
}

impl Broker {
    /// The password of its user, which is to be seen nowhere.
    pub const PASSWORD: &str = "rabbits-eat-hunter2";

    /// Starts one and waits until it takes connections.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (port, distribution, names) = (free_port()?, free_port()?, free_port()?);
        let home = dir.path();
        fs::write(
            home.join("rabbitmq.conf"),
            format!(
                "listeners.tcp.1 = 127.0.0.1:{port}\ndefault_user = everstep\ndefault_pass = {}\n",
                Self::PASSWORD
            ),
        )?;
        // Nodes find each other by a daemon that outlives them: this one is ours and ends with us.
        let mut daemon = at_home("epmd", home, names);
        daemon.args(["-port", &names.to_string(), "-address", "127.0.0.1"]);
        let mut names_child = daemon.spawn().context("epmd: is RabbitMQ installed?")?;
        let server = if Path::new(DEBIAN).is_file() { DEBIAN } else { "rabbitmq-server" };
        let mut command = at_home(server, home, names);
        command
            .env("RABBITMQ_NODENAME", "everstep@localhost")
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_MNESIA_BASE", home.join("data"))
            .env("RABBITMQ_LOG_BASE", home.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            )
            .stdout(File::create(home.join("out"))?);
        let node = command.spawn().with_context(|| format!("{server}: is RabbitMQ installed?"));
        let node = match node {
            Ok(node) => node,
            Err(error) => {
                end(&mut names_child);
                return Err(error);
            }
        };
        let mut broker = Self { dir, port, names: names_child, node };
        broker.wait_until_ready().await?;
        Ok(broker)
    }

    /// Where it is, with the name and the password to get in.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://everstep:{}@127.0.0.1:{}/%2f", Self::PASSWORD, self.port)
    }

    /// Makes a topic exchange, and a durable queue that gets what a pattern matches.
    pub async fn bind(&self, exchange: &str, queue: &str, pattern: &str) -> Result<()> {
        let (_connection, channel) = self.channel().await?;
        let nothing = FieldTable::default;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let topic = ExchangeKind::Topic;
        channel.exchange_declare(exchange.into(), topic, durable, nothing()).await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), durable, nothing()).await?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue.into(), exchange.into(), pattern.into(), options, nothing())
            .await?;
        Ok(())
    }

    /// Takes all messages that a queue has, in order.
    pub async fn drain(&self, queue: &str) -> Result<Vec<Received>> {
        let (_connection, channel) = self.channel().await?;
        let mut all = vec![];
        while let Some(message) =
            channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await?
        {
            let delivery = message.delivery;
            all.push(Received {
                routing_key: delivery.routing_key.to_string(),
                properties: delivery.properties,
                body: delivery.data,
            });
        }
        Ok(all)
    }

    /// How many messages a queue has.
    pub async fn depth(&self, queue: &str) -> Result<u32> {
        let (_connection, channel) = self.channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
        Ok(found.message_count())
    }

    async fn channel(&self) -> Result<(Connection, Channel)> {
        let connection = Connection::connect(&self.url(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        // The port opens last, once all that stands behind it is there.
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let told = || fs::read_to_string(self.dir.path().join("out")).unwrap_or_default();
            ensure!(self.node.try_wait()?.is_none(), "RabbitMQ ended:\n{}", told());
            ensure!(begun.elapsed() < START_LIMIT, "RabbitMQ is not ready:\n{}", told());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its data are thrown away, so it need not shut down with care.
        if matches!(self.node.try_wait(), Ok(None)) {
            for pid in descendants(self.node.id()) {
                signal(pid, Signal::SIGKILL);
            }
        }
        end(&mut self.node);
        end(&mut self.names);
    }
}

/// A program of Erlang's that keeps to a directory: its cookie, and where it looks for others.
fn at_home(program: &str, home: &Path, names: u16) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).env("ERL_EPMD_PORT", names.to_string());
    command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
