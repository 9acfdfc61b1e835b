//! The options of the server, which are environment variables.

use std::{env, error::Error, net::SocketAddr, str::FromStr, time::Duration};

use socketio::{ConnectionStateRecovery, EngineConfig, Forwarding, Server, ServerConfig};
use socketio_nats::{JetStream, Nats};
use socketio_postgres::Postgres;
use socketio_redis::{Classic, Sharded, Streams, SubscriptionMode};

pub(crate) struct Environment {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) name: String,
    pub(crate) adapter: String,
    redis_url: String,
    postgres_url: String,
    nats_url: String,
    key: Option<String>,
    mode: SubscriptionMode,
    specific_responses: bool,
    sharded_pub_sub: bool,
    stream_count: u32,
    requests_timeout: Duration,
    recovery: Option<Duration>,
    heartbeat_interval: Duration,
    heartbeat_timeout: Duration,
    cleanup_interval: Duration,
    /// The secret of the cluster, and the address for forwarded requests.
    pub(crate) forwarding: Option<(String, SocketAddr)>,
}

impl Environment {
    pub(crate) fn read() -> Result<Self, Box<dyn Error>> {
        let text = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
        let mode = match &*text("SUBSCRIPTION_MODE", "dynamic") {
            "static" => SubscriptionMode::Static,
            "dynamic" => SubscriptionMode::Dynamic,
            "dynamic-private" => SubscriptionMode::DynamicPrivate,
            other => return Err(format!("unknown SUBSCRIPTION_MODE `{other}`").into()),
        };
        Ok(Self {
            host: text("HOST", "127.0.0.1"),
            port: number("PORT")?.unwrap_or(4100),
            name: text("NODE_NAME", ""),
            adapter: text("ADAPTER", "none"),
            redis_url: text("REDIS_URL", "redis://127.0.0.1:6379"),
            postgres_url: text("POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres"),
            nats_url: text("NATS_URL", "nats://127.0.0.1:4222"),
            key: env::var("KEY").ok(),
            mode,
            specific_responses: text("SPECIFIC_RESPONSES", "") == "1",
            sharded_pub_sub: text("SHARDED_PUB_SUB", "") == "1",
            stream_count: number("STREAM_COUNT")?.unwrap_or(1),
            requests_timeout: Duration::from_millis(number("REQUESTS_TIMEOUT_MS")?.unwrap_or(5000)),
            recovery: number("RECOVERY_MS")?.map(Duration::from_millis),
            heartbeat_interval: Duration::from_millis(number("HEARTBEAT_INTERVAL_MS")?.unwrap_or(5000)),
            heartbeat_timeout: Duration::from_millis(number("HEARTBEAT_TIMEOUT_MS")?.unwrap_or(10_000)),
            cleanup_interval: Duration::from_millis(number("CLEANUP_INTERVAL_MS")?.unwrap_or(30_000)),
            forwarding: number("FORWARDING_ADDRESS")?.map(|address| (text("FORWARDING_SECRET", ""), address)),
        })
    }

    pub(crate) fn server(&self) -> Result<Server, Box<dyn Error>> {
        let engine = EngineConfig::default()
            .ping_interval(Duration::from_secs(20))
            .ping_timeout(Duration::from_secs(15))
            .max_http_buffer_size(10_000_000_usize)
            .forwarding(self.forwarding.as_ref().map(|(secret, address)| Forwarding::new(secret, *address)));
        let mut config = ServerConfig::default().engine(engine).requests_timeout(self.requests_timeout);
        if let Some(duration) = self.recovery {
            config = config.connection_state_recovery(
                ConnectionStateRecovery::default().max_disconnection_duration(duration),
            );
        }
        Ok(match &*self.adapter {
            "none" => Server::with_config(config),
            "redis" => Server::with_cluster(config, self.classic()?),
            "redis-sharded" => Server::with_cluster(config, self.sharded()?),
            "redis-streams" => Server::with_cluster(config, self.streams()?),
            "postgres" => Server::with_cluster(config, self.postgres()?),
            "nats" => Server::with_cluster(config, self.nats()?),
            "nats-jetstream" => Server::with_cluster(config, self.jetstream()?),
            other => return Err(format!("unknown ADAPTER `{other}`").into()),
        })
    }

    fn classic(&self) -> Result<Classic, Box<dyn Error>> {
        let adapter =
            Classic::new(&self.redis_url)?.publish_on_specific_response_channel(self.specific_responses);
        Ok(match &self.key {
            Some(key) => adapter.key(key),
            None => adapter,
        })
    }

    fn sharded(&self) -> Result<Sharded, Box<dyn Error>> {
        let adapter = Sharded::new(&self.redis_url)?.subscription_mode(self.mode);
        Ok(match &self.key {
            Some(key) => adapter.channel_prefix(key),
            None => adapter,
        })
    }

    fn postgres(&self) -> Result<Postgres, Box<dyn Error>> {
        let adapter = Postgres::new(&self.postgres_url)?
            .cleanup_interval(self.cleanup_interval)
            .heartbeat_interval(self.heartbeat_interval)
            .heartbeat_timeout(self.heartbeat_timeout);
        Ok(match &self.key {
            Some(key) => adapter.channel_prefix(key).table_name(format!("{key}_attachments")),
            None => adapter,
        })
    }

    fn nats(&self) -> Result<Nats, Box<dyn Error>> {
        let adapter = Nats::new(&self.nats_url)?
            .heartbeat_interval(self.heartbeat_interval)
            .heartbeat_timeout(self.heartbeat_timeout);
        Ok(match &self.key {
            Some(key) => adapter.subject_prefix(key),
            None => adapter,
        })
    }

    fn jetstream(&self) -> Result<Nats, Box<dyn Error>> {
        let options = JetStream::default();
        Ok(self.nats()?.jetstream(match &self.key {
            Some(key) => options.stream_name(key),
            None => options,
        }))
    }

    fn streams(&self) -> Result<Streams, Box<dyn Error>> {
        let adapter = Streams::new(&self.redis_url)?
            .stream_count(self.stream_count)
            .sharded_pub_sub(self.sharded_pub_sub);
        Ok(match &self.key {
            Some(key) => {
                adapter.stream_name(key).channel_prefix(key).session_key_prefix(format!("{key}:session:"))
            }
            None => adapter,
        })
    }
}

fn number<T: FromStr<Err: Error + 'static>>(name: &str) -> Result<Option<T>, Box<dyn Error>> {
    Ok(env::var(name).ok().map(|text| text.parse()).transpose()?)
}
