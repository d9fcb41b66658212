package config

import (
	"strings"
	"time"
)

// setting is one line of the table. Its default is written as a user would write it; lists are separated by commas.
type setting struct {
	key       string // in the file; flag and variable derive from it
	def       string
	help      string // one phrase, for --help and the sample file
	rule      rule
	sample    string // a value for the sample file when the default is empty
	wordpress bool   // wp-config.php fills it when it is not set
}

// flag is the setting's name on the command line.
func (s setting) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(s.key) }

const envPrefix = "HOLDLINE_"

// env is the setting's name in the environment.
func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

func (s setting) secret() bool { return s.rule.kind == kindSecret }

// fileKey is the key of the file that holds the secret.
func (s setting) fileKey() string { return s.key + "_file" }

// minSecret is the key size RFC 7518 section 3.2 demands for HS256, which signs our tokens.
const minSecret = 32

// maxHold stays under the 60 s after which nginx (proxy_read_timeout) and most other proxies give up on an answer.
const maxHold = 55 * time.Second

// table is the one list of settings, in the order of the sample file and of --print-config.
func table() []setting {
	const most = 10_000_000
	return []setting{
		{key: "listen", def: "127.0.0.1:8787", help: "where browsers or the front proxy connect", rule: listener()},
		{key: "admin_listen", def: "127.0.0.1:8788", help: "where health, metrics and status are served; keep it private", rule: listener()},
		{key: "admin_hosts", help: "names by which the operator's pages may be called; addresses, localhost and this machine's own name always may", rule: listOf("host names without a port, such as holdline.internal", hostName), sample: "holdline.internal"},
		{key: "base_path", def: "/holdline/v1", help: "path under which the endpoints live", rule: basePath()},

		{key: "tls.cert_file", help: "certificate and its chain in PEM, with which listen speaks TLS itself; read again when it changes", rule: filePath(), sample: "/etc/holdline/fullchain.pem"},
		{key: "tls.key_file", help: "private key of that certificate in PEM", rule: filePath(), sample: "/etc/holdline/privkey.pem"},
		{key: "tls.acme_domains", help: "instead of files: names to get a certificate for by itself; port 443 of each must lead to listen, and you agree to the CA's terms", rule: listOf("host names in ASCII without a port, such as chat.example.com", domainName), sample: "chat.example.com"},
		{key: "tls.acme_email", help: "where the CA writes when something is wrong with a certificate", rule: optional(mailAddress()), sample: "admin@example.com"},
		{key: "tls.acme_directory", help: "ACME directory of the CA; empty is Let's Encrypt's", rule: optional(acmeDirectory()), sample: "https://acme-staging-v02.api.letsencrypt.org/directory"},
		{key: "tls.acme_ca_file", help: "certificate in PEM by which the directory itself is trusted, for a CA of your own", rule: filePath(), sample: "/etc/holdline/acme-ca.pem"},

		{key: "wordpress.config", help: "path of wp-config.php, which gives database, prefix, salts and site address unless they are set here", rule: filePath(), sample: "/var/www/html/wp-config.php"},
		{key: "wordpress.url", help: "address of the site", rule: optional(siteURL()), sample: "https://example.com", wordpress: true},
		{key: "wordpress.upstream", help: "PHP's web server, for all that is forwarded; empty turns forwarding off", rule: optional(upstream()), sample: "http://127.0.0.1:8080"},

		{key: "database.address", help: "MySQL or MariaDB server", rule: optional(databaseAddress()), sample: "127.0.0.1:3306", wordpress: true},
		{key: "database.name", help: "name of the database", rule: freeText(), sample: "wordpress", wordpress: true},
		{key: "database.user", help: "user with SELECT on that database and nothing else", rule: freeText(), sample: "holdline", wordpress: true},
		{key: "database.password", help: "password of that user; a file is safer, for others can read flags and variables", rule: secret(0, "a password"), sample: "secret", wordpress: true},
		{key: "database.password_file", help: "file with that password, instead of the password itself", rule: filePath(), sample: "/etc/holdline/db-password"},
		{key: "database.table_prefix", def: "wp_", help: "prefix of the site's tables", rule: optional(tablePrefix()), wordpress: true},
		{key: "database.tls", def: "off", help: "encryption to the server; a path names the CA certificate to trust", rule: databaseTLS()},
		{key: "database.max_connections", def: "2", help: "connections to the server at most", rule: number(1, 100)},

		{key: "sources", help: "chat plugins to read; empty means every plugin whose tables exist", rule: listOf("names of lower-case letters, digits and _, such as wplc", sourceName), sample: "wplc"},

		{key: "tail.interval", def: "50ms", help: "time between reads while rows flow", rule: duration(time.Millisecond, 10*time.Second)},
		{key: "tail.idle_interval", def: "1s", help: "time between reads when nothing happens", rule: duration(time.Millisecond, time.Hour)},
		{key: "tail.gap_window", def: "60s", help: "how long a skipped row id may still turn up", rule: duration(time.Second, time.Hour)},
		{key: "tail.batch", def: "500", help: "rows per query at most", rule: number(1, 10_000)},

		{key: "auth.secret", help: "key that signs tokens and visitor bindings; a file is safer, for others can read flags and variables", rule: secret(minSecret, "at least 32 random bytes, such as `openssl rand -hex 32` prints"), sample: "at-least-32-random-bytes-such-as-openssl-rand-hex-32-prints", wordpress: true},
		{key: "auth.secret_file", help: "file with that key, instead of the key itself", rule: filePath(), sample: "/etc/holdline/secret"},
		{key: "auth.allowed_origins", help: "other origins whose pages may connect", rule: listOf("scheme://host[:port] without a path, such as https://example.com", webOrigin), sample: "https://www.example.com"},
		{key: "auth.recheck", def: "10s", help: "how often the logins of live connections are checked again", rule: duration(100*time.Millisecond, time.Hour)},

		{key: "loops.wplc.answer", def: "auto", help: "who answers the polls of WP Live Chat Support: native is from rows, relay by PHP when there is news, auto chooses", rule: oneOf("auto", "native", "relay")},
		{key: "loops.wplc.visitors", def: "adopt", help: "who may poll a chat: adopt binds old chats to the first browser, strict refuses them, compatible lets anybody read", rule: oneOf("adopt", "strict", "compatible")},

		{key: "hold", def: "25s", help: "how long a poll without news is held", rule: duration(time.Millisecond, maxHold)},
		{key: "heartbeat", def: "15s", help: "silence on a stream before a heartbeat is sent", rule: duration(time.Second, time.Minute)},

		{key: "limits.connections", def: "50000", help: "held connections in all", rule: number(1, most)},
		{key: "limits.per_address", def: "200", help: "held connections from one address", rule: number(1, most)},
		{key: "limits.per_user", def: "50", help: "held connections of one user or visitor", rule: number(1, most)},
		{key: "limits.open", def: "4096", help: "connections in all that are open and not held: about to ask, being answered, or kept alive", rule: number(1, most)},
		{key: "limits.open_per_address", def: "256", help: "the same from one address; those in trusted_proxies have no such limit", rule: number(1, most)},
		{key: "limits.channels", def: "50", help: "channels in one subscription", rule: number(1, 10_000)},
		{key: "limits.body", def: "1MiB", help: "bytes of a request body", rule: size(KiB, GiB)},
		{key: "limits.queue_events", def: "256", help: "events that may wait for one slow client", rule: number(1, 1_000_000)},
		{key: "limits.queue_bytes", def: "256KiB", help: "bytes that may wait for one slow client", rule: size(KiB, GiB)},
		{key: "limits.header", def: "16KiB", help: "bytes of a request header", rule: size(KiB, MiB)},
		{key: "limits.message", def: "16KiB", help: "bytes of a chat message that a browser sends", rule: size(256, 64*KiB)},
		{key: "limits.sends", def: "10", help: "messages that one sender may send in a second; four times as many at once", rule: number(1, 1000)},
		{key: "limits.signal", def: "16KiB", help: "bytes that one participant may signal to another, as calls are set up", rule: size(256, 64*KiB)},

		{key: "trusted_proxies", def: "127.0.0.0/8,::1/128", help: "networks whose X-Forwarded-For header is believed", rule: listOf("networks or addresses, such as 10.0.0.0/8 or ::1", network)},

		{key: "log.level", def: "info", help: "least important message that is logged", rule: oneOf("debug", "info", "warn", "error")},
		{key: "log.format", def: "text", help: "form of a log line", rule: oneOf("text", "json")},

		{key: "state_dir", help: "folder for what must survive a kill -9: how far each browser has got, and messages that WordPress has not stored yet; empty finds one (STATE_DIRECTORY, XDG_STATE_HOME or ~/.local/state), off keeps none, and without spool.dir browsers cannot send then", rule: optional(stateDir()), sample: "/var/lib/holdline"},

		{key: "spool.dir", help: "folder of this site alone for messages that WordPress has not stored yet; empty is one below state_dir", rule: optional(pathOf("folder", "/var/spool/holdline")), sample: "/var/spool/holdline"},
		{key: "spool.sync", def: "always", help: "when the disk must have a message: always before it is accepted, interval within a second, never leaves it to the system; only a power cut makes a difference", rule: oneOf("always", "interval", "never")},
		{key: "spool.max_bytes", def: "256MiB", help: "bytes of that folder's files; when it is full, browsers are told to send again later", rule: size(4*MiB, 1024*GiB)},

		{key: "pid_file", help: "file with the number of the running process, for who sends it signals; an upgrade writes the successor's", rule: optional(pathOf("file", "/run/holdline/pid")), sample: "/run/holdline/pid"},

		{key: "drain", def: "20s", help: "how long a stopping server lets its clients leave", rule: duration(0, 10*time.Minute)},
	}
}

// find looks a key up in the table.
func find(key string) (setting, bool) {
	for _, s := range table() {
		if s.key == key {
			return s, true
		}
	}
	return setting{}, false
}

// isGroup reports whether settings live below a key.
func isGroup(key string) bool {
	for _, s := range table() {
		if strings.HasPrefix(s.key, key+".") {
			return true
		}
	}
	return false
}
