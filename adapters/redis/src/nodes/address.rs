//! The address of a deployment of Redis: one server, sentinels, or a cluster.

use std::{collections::HashMap, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::time::{error::Elapsed, timeout};

use super::{
    RESPONSE_TIMEOUT,
    plain::{OpenConnection, Plain, Stream},
    topology::{Node, Topology},
};

/// The time within which a sentinel or a server of a cluster must tell where the masters are.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(1);
const SENTINEL_PORT: u16 = 26_379;

#[derive(Debug, Clone)]
pub(crate) enum Address {
    Server(ConnectionInfo),
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        master: String,
        /// The options of connections to the master, whose host and port are not used.
        server: ConnectionInfo,
    },
    /// Some servers of a cluster.
    Cluster(Vec<ConnectionInfo>),
}

fn invalid(what: &'static str, detail: &str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, what, detail.to_owned()))
}

/// Returns the parameters for a connection with RESP3, which messages to subscribers need.
fn connection_info(url: &str) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    // A user with few rights may not execute this command.
    let redis = redis.set_skip_set_lib_name();
    Ok(info.set_redis_settings(redis))
}

impl Address {
    /// Parses a URL.
    pub(crate) fn parse(url: &str) -> RedisResult<Self> {
        match url.split_once("://") {
            Some(("redis-sentinel", rest)) => Self::sentinel("redis", rest),
            Some(("rediss-sentinel", rest)) => Self::sentinel("rediss", rest),
            Some(("redis-cluster", rest)) => Self::cluster("redis", rest),
            Some(("rediss-cluster", rest)) => Self::cluster("rediss", rest),
            _ => Ok(Self::Server(connection_info(url)?)),
        }
    }

    fn sentinel(scheme: &str, rest: &str) -> RedisResult<Self> {
        let Parts { user, hosts, path, mut query } = Parts::new(rest)?;
        if path.is_empty() {
            return Err(invalid("the name of the master is missing", "redis-sentinel://host:port/name"));
        }
        let mut option = |name: &str| query.remove(name).unwrap_or_default();
        let (database, name, password) =
            (option("db"), option("sentinel_username"), option("sentinel_password"));
        if let Some(unknown) = query.keys().next() {
            return Err(invalid("unknown option of a sentinel URL", unknown));
        }
        let sentinel_user = if name.is_empty() && password.is_empty() {
            String::new()
        } else {
            format!("{name}:{password}@")
        };
        let sentinels = hosts
            .iter()
            .map(|host| {
                let has_port = host.rfind(':') > host.rfind(']');
                let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
                format!("{scheme}://{sentinel_user}{host}{port}").into_connection_info()
            })
            .collect::<RedisResult<_>>()?;
        let server = connection_info(&format!("{scheme}://{user}localhost/{database}"))?;
        Ok(Self::Sentinel { sentinels, master: path.to_owned(), server })
    }

    fn cluster(scheme: &str, rest: &str) -> RedisResult<Self> {
        let Parts { user, hosts, path, query } = Parts::new(rest)?;
        if !path.is_empty() {
            return Err(invalid("a Redis Cluster has no databases", path));
        }
        if let Some(unknown) = query.keys().next() {
            return Err(invalid("unknown option of a cluster URL", unknown));
        }
        let seeds = hosts.iter().map(|host| connection_info(&format!("{scheme}://{user}{host}")));
        Ok(Self::Cluster(seeds.collect::<RedisResult<_>>()?))
    }

    /// Returns the topology if it never changes.
    pub(crate) fn fixed(&self) -> Option<Topology> {
        match self {
            Self::Server(info) => {
                let (host, port) = host_and_port(info);
                Some(Topology::one(Node::new(&host, port)))
            }
            _ => None,
        }
    }

    /// Returns `true` if messages of `PUBLISH` reach the subscribers at all servers.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Returns `true` if the sentinels tell which server is the master.
    pub(crate) fn is_sentinel(&self) -> bool {
        matches!(self, Self::Sentinel { .. })
    }

    /// Returns the client for a server.
    fn client(&self, node: &Node) -> RedisResult<Client> {
        let info = match self {
            Self::Server(info) => return Client::open(info.clone()),
            Self::Sentinel { server, .. } => server,
            Self::Cluster(seeds) => &seeds[0],
        };
        let mut addr = info.addr().clone();
        match &mut addr {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (*host, *port) = (node.host.to_string(), node.port);
            }
            _ => {}
        }
        Client::open(info.clone().set_addr(addr))
    }

    /// Opens a connection to a node.
    pub(crate) async fn connect(
        &self,
        node: &Node,
        config: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let config = config.set_connection_timeout(Some(RESPONSE_TIMEOUT));
        let client = self.client(node)?;
        let connecting = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            self.check(&mut connection).await?;
            Ok(connection)
        };
        // The timeout of `config` does not include the commands that follow the connection.
        timeout(RESPONSE_TIMEOUT, connecting).await.unwrap_or_else(late)
    }

    /// Like [`connect`](Self::connect), but reads through a filter, if the connection has no TLS.
    pub(crate) async fn connect_filtered<S: Stream>(
        &self,
        node: &Node,
        config: AsyncConnectionConfig,
        filter: impl FnOnce(Plain) -> S,
    ) -> RedisResult<OpenConnection> {
        let client = self.client(node)?;
        let info = client.get_connection_info();
        let connecting = async {
            let Some(stream) = Plain::connect(info.addr()).await? else {
                return Ok(OpenConnection::from(self.connect(node, config).await?));
            };
            let mut connection = OpenConnection::start(info.redis_settings(), filter(stream), config).await?;
            self.check(&mut connection.commands).await?;
            Ok(connection)
        };
        timeout(RESPONSE_TIMEOUT, connecting).await.unwrap_or_else(late)
    }

    /// Checks a new connection.
    async fn check(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        if matches!(self, Self::Sentinel { .. }) { check_role(connection).await } else { Ok(()) }
    }

    /// Asks where the masters are. `known` are the servers that were found before.
    pub(crate) async fn discover(&self, known: &[Node]) -> RedisResult<Topology> {
        let mut last_error = invalid("no servers", "");
        match self {
            Self::Server(_) => {}
            Self::Sentinel { sentinels, master, .. } => {
                for sentinel in sentinels {
                    match ask(Client::open(sentinel.clone()), &master_command(master)).await {
                        Ok(reply) => match redis::from_redis_value::<Option<(String, u16)>>(reply) {
                            Ok(Some((host, port))) => return Ok(Topology::one(Node::new(&host, port))),
                            Ok(None) => last_error = invalid("the sentinels do not know the master", master),
                            Err(error) => last_error = error.into(),
                        },
                        Err(error) => last_error = error,
                    }
                }
            }
            Self::Cluster(seeds) => {
                let known = known.iter().map(|node| (self.client(node), node.host.to_string()));
                let seeds = seeds.iter().map(|info| (Client::open(info.clone()), host_and_port(info).0));
                for (client, host) in known.chain(seeds) {
                    match ask(client, redis::cmd("CLUSTER").arg("SLOTS")).await {
                        Ok(reply) => match Topology::parse(&reply, &host) {
                            Some(topology) => return Ok(topology),
                            None => last_error = invalid("a server has no slots of a cluster", &host),
                        },
                        Err(error) => last_error = error,
                    }
                }
            }
        }
        Err(last_error)
    }
}

/// Checks that the server that the sentinels have named is the master. It may have been one before.
async fn check_role(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let role: Value = redis::cmd("ROLE").query_async(connection).await?;
    match role {
        Value::Array(role) if role.first() == Some(&Value::BulkString(b"master".to_vec())) => Ok(()),
        _ => Err(std::io::Error::other("the server is not the master").into()),
    }
}

fn late<T>(elapsed: Elapsed) -> RedisResult<T> {
    Err(std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed).into())
}

fn master_command(master: &str) -> redis::Cmd {
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(master);
    command
}

/// Executes one command on a connection of its own.
async fn ask(client: RedisResult<Client>, command: &redis::Cmd) -> RedisResult<Value> {
    let client = client?;
    let asking = async {
        let config = AsyncConnectionConfig::new();
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        command.query_async(&mut connection).await
    };
    timeout(DISCOVERY_TIMEOUT, asking).await.unwrap_or_else(late)
}

/// Returns the host and the port of a server. A Unix socket has no port.
fn host_and_port(info: &ConnectionInfo) -> (String, u16) {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => (host.clone(), *port),
        other => (other.to_string(), 0),
    }
}

/// The parts of a URL with several hosts.
struct Parts<'a> {
    /// The user name and the password, and the `@` that ends them. Empty if there is none.
    user: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
    query: HashMap<&'a str, &'a str>,
}

impl<'a> Parts<'a> {
    fn new(rest: &'a str) -> RedisResult<Self> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may contain a slash only if it is encoded.
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let hosts: Vec<&str> = hosts.split(',').collect();
        if hosts.iter().any(|host| host.is_empty()) {
            return Err(invalid("a host is missing", rest));
        }
        let options = query.split('&').filter(|option| !option.is_empty());
        let query = options.map(|option| option.split_once('=').unwrap_or((option, ""))).collect();
        Ok(Self { user, hosts, path, query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(info: &ConnectionInfo) -> String {
        let redis = info.redis_settings();
        let user =
            format!("{}:{}", redis.username().unwrap_or_default(), redis.password().unwrap_or_default());
        format!("{user}@{}/{}", info.addr(), redis.db())
    }

    #[test]
    fn the_url_of_sentinels() {
        let url = "redis-sentinel://u:p%40@s1:5,s2,[::1]:7/main?db=3&sentinel_username=x&sentinel_password=y";
        let Address::Sentinel { sentinels, master, server } = Address::parse(url).unwrap() else { panic!() };
        let sentinels: Vec<_> = sentinels.iter().map(shown).collect();
        assert_eq!(sentinels, ["x:y@s1:5/0", "x:y@s2:26379/0", "x:y@::1:7/0"]);
        assert_eq!(master, "main");
        assert_eq!(shown(&server), "u:p@@localhost:6379/3");
        assert_eq!(server.redis_settings().protocol(), ProtocolVersion::RESP3);
    }

    #[test]
    fn the_url_of_a_cluster() {
        let address = Address::parse("redis-cluster://:secret@a:1,b").unwrap();
        let Address::Cluster(seeds) = &address else { panic!() };
        assert_eq!(seeds.iter().map(shown).collect::<Vec<_>>(), [":secret@a:1/0", ":secret@b:6379/0"]);
        let client = address.client(&Node::new("c", 9)).unwrap();
        assert_eq!(shown(client.get_connection_info()), ":secret@c:9/0");
    }

    #[test]
    fn invalid_urls() {
        for url in [
            "redis-sentinel://a:1",
            "redis-sentinel://a:1/main?database=1",
            "redis-sentinel://a:1,/main",
            "redis-sentinel:///main",
            "redis-sentinel://a:1/main?db=x",
            "redis-cluster://",
            "redis-cluster://a:b",
            "redis-cluster://a/1",
            "redis-cluster://a?db=1",
            "http://a",
            "",
        ] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_used_for_all_servers() {
        let Address::Sentinel { sentinels, server, .. } = Address::parse("rediss-sentinel://a,b/m").unwrap()
        else {
            panic!()
        };
        for info in sentinels.iter().chain([&server]) {
            assert!(matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        }
    }
}
