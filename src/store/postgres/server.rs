//! Making connections to the database.

use super::clock::Clock;
use super::db::{Db, Warnings, get};
use super::error::Error;
use super::tls::Tls;
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Config, NoTls};

/// The time for one attempt to connect to one host.
const CONNECT: Duration = Duration::from_secs(2);
/// The time for everything until a connection can be used.
const READY: Duration = Duration::from_secs(8);
/// How long a connection is silent before the system asks the peer whether it is still there, and how long the peer
/// may leave what was sent unacknowledged.
const SILENT: Duration = Duration::from_secs(5);
/// The channel on which the members of a fleet wake each other.
pub(super) const CHANNEL: &str = "origin_shim";
/// Makes commits of a session durable, whatever is configured for the role or the database.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local')";
/// The oldest supported version, as the server writes it.
const OLDEST: i64 = 140_000;

/// A database, and how to reach it.
pub(super) struct Server {
    config: Config,
    tls: Option<Tls>,
    pub(super) clock: Arc<Clock>,
}

impl Server {
    /// Adds what the configuration does not say. `tls` is `None` where the connection stays on this machine.
    pub(super) fn new(mut config: Config, tls: Option<Tls>, clock: Arc<Clock>) -> Self {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENT);
        }
        if config.get_application_name().is_none() {
            config.application_name("origin-shim");
        }
        // A standby accepts no purge.
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config.keepalives_idle(SILENT).keepalives_interval(Duration::from_secs(2)).keepalives_retries(2);
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        Self { config, tls, clock }
    }

    /// Makes a connection. Notifications go to `heard`.
    pub(super) async fn connect(&self, heard: Option<mpsc::UnboundedSender<()>>) -> Result<Db, Error> {
        let ready = async {
            let warnings = Warnings::default();
            let client = match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    tokio::spawn(drive(connection, warnings.clone(), heard.clone()));
                    client
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    tokio::spawn(drive(connection, warnings.clone(), heard.clone()));
                    client
                }
            };
            let db = Db::new(client, warnings);
            self.read_clock(&db).await?;
            if let Some(heard) = heard {
                db.batch(&format!("LISTEN {CHANNEL}; {DURABLE}")).await?;
                // What was said before is lost.
                let _ = heard.send(());
            }
            Ok(db)
        };
        timeout(READY, ready).await.unwrap_or(Err(Error::Undecided(READY)))
    }

    /// Learns the database's clock, and that its version is known.
    async fn read_clock(&self, db: &Db) -> Result<(), Error> {
        let before_ms = self.clock.steady_ms();
        let row = db
            .one(
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8,
                        current_setting('server_version_num')::int8, current_setting('server_version')",
                &[],
            )
            .await?;
        self.clock.learn((before_ms, self.clock.steady_ms()), get(&row, 0)?);
        match get::<i64>(&row, 1)? {
            OLDEST.. => Ok(()),
            _ => Err(Error::OldServer(get(&row, 2)?)),
        }
    }
}

/// Runs a connection until it ends.
async fn drive<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    warnings: Warnings,
    heard: Option<mpsc::UnboundedSender<()>>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        match message {
            AsyncMessage::Notice(notice) if notice.severity() == "WARNING" => {
                warnings.lock().unwrap_or_else(PoisonError::into_inner).push(notice.message().to_owned());
            }
            AsyncMessage::Notification(_) => {
                if let Some(heard) = &heard {
                    // The listener may have ended.
                    let _ = heard.send(());
                }
            }
            _ => {}
        }
    }
}

/// A lane's connection, which is made when it is needed.
pub(super) struct Link {
    server: Arc<Server>,
    /// Where notifications go, if the connection listens.
    heard: Option<mpsc::UnboundedSender<()>>,
    db: Option<Db>,
    failed: Option<(tokio::time::Instant, Arc<Error>)>,
}

/// The pause after a failed attempt to connect. Until then, everything fails with its error.
const PAUSE: Duration = Duration::from_millis(500);

impl Link {
    pub(super) fn new(server: Arc<Server>, db: Option<Db>) -> Self {
        Self { server, heard: None, db, failed: None }
    }

    /// Returns a link whose connection listens.
    pub(super) fn listening(server: Arc<Server>, heard: mpsc::UnboundedSender<()>) -> Self {
        Self { server, heard: Some(heard), db: None, failed: None }
    }

    /// Takes the connection, or makes one.
    pub(super) async fn take(&mut self) -> Result<Db, Error> {
        if let Some(db) = self.db.take().filter(|db| !db.is_closed()) {
            return Ok(db);
        }
        if let Some((at, error)) = &self.failed
            && at.elapsed() < PAUSE
        {
            return Err(Error::Unreachable(error.clone()));
        }
        match self.server.connect(self.heard.clone()).await {
            Ok(db) => {
                self.failed = None;
                Ok(db)
            }
            Err(error) => {
                let error = Arc::new(error);
                self.failed = Some((tokio::time::Instant::now(), error.clone()));
                Err(Error::Unreachable(error))
            }
        }
    }

    /// Gives a connection back.
    pub(super) fn put(&mut self, db: Db) {
        self.db = Some(db);
    }
}
