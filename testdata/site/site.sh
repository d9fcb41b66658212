#!/usr/bin/env bash
# site.sh: a real WordPress for tests, on loopback and in one folder, from Debian packages.
#
#   site.sh up DIR [--http PORT] [--apache PORT] [--children N] [--plugin FOLDER] [--owner PID]
#                  [--holdline URL] [--secret TEXT] [--rules FOLDER]
#   site.sh start DIR SERVER...      start what was killed since: mariadbd, php-fpm, nginx or apache2
#   site.sh down DIR                 end what `up` started; the data stays
#   site.sh status DIR               what runs; exit 0 when all of it does
#   site.sh env DIR                  ports, sockets, users and passwords, as NAME=value
#   site.sh login DIR USER           log in through wp-login.php and print the Cookie header
#   site.sh php DIR FILE.php [ARG]   run a PHP file inside this WordPress
#
# `up` makes the site when DIR is empty, starts what does not run, and applies changed
# options to a running site; options not given keep their last value. Ports are free
# ones unless given. DIR holds everything: data, sockets, logs, configuration, WordPress.
# No system service is started, and only processes whose ids are recorded here are ended.
# As root the servers run as www-data and mysql, so those users must be able to enter
# DIR; as anybody else they run as the caller, and missing packages are only named.
#
#   --children N      pm.max_children of PHP-FPM (5): so many requests can PHP hold at once
#   --plugin FOLDER   install and activate this plugin instead of plugin/holdline-testchat
#   --holdline URL    both fronts send admin-ajax.php and /holdline/v1/ there; "" is off
#   --secret TEXT     HOLDLINE_SECRET for the companion plugin, when the checkout has one
#   --rules FOLDER    replaces the fronts' built-in Holdline rules by the files in it:
#                     nginx-http.conf (http level), nginx.conf (server level),
#                     apache-server.conf (outside the virtual host), apache.conf (inside)
#   --owner PID       bring the site down when that process ends, however it ends
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
SERVERS=(mariadbd php-fpm nginx apache2)
PACKAGES=(mariadb-server mariadb-client wordpress wordpress-theme-twentytwentyone
	php-fpm php-cli php-mysql nginx apache2 curl)

die() { echo "site.sh: $*" >&2 && exit 1; }
usage() { sed -n '2,/^set -euo/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2 && exit 2; }

# shellcheck source=conf.sh
. "$HERE/conf.sh"

# ---- one folder -----------------------------------------------------------------

settle() { # DIR
	[ -n "${1:-}" ] || usage
	DIR=$(realpath -m "$1")
	ETC=$DIR/etc RUN=$DIR/run LOG=$DIR/log WP=$DIR/wp
	# A unix socket's path has 108 bytes.
	[ ${#DIR} -lt 80 ] || die "$DIR is too long a path for the sockets in it"
	# shellcheck disable=SC1091
	[ ! -f "$ETC/site.env" ] || . "$ETC/site.env"
}

made() {
	[ -f "$ETC/site.env" ] || die "there is no site in $DIR: run site.sh up first"
	derive
}

# run_as prints the user that a server or WordPress's files belong to.
run_as() { # mysql|www-data
	if [ "$(id -u)" = 0 ]; then echo "$1"; else id -un; fi
}

# as runs a command as www-data, or as the caller who is not root.
as_www() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid=www-data --regid=www-data --clear-groups -- "$@"
	else
		"$@"
	fi
}

# ---- packages -------------------------------------------------------------------

install_packages() {
	local missing=() p
	for p in "${PACKAGES[@]}"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "please install: ${missing[*]}"
	# A policy that says no keeps the packages from starting their services.
	local policy=/usr/sbin/policy-rc.d ours=
	[ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && ours=1; }
	local apt=(apt-get -qq -o DPkg::Lock::Timeout=300) ok=1
	export DEBIAN_FRONTEND=noninteractive
	{ "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$LOG/apt.log" 2>&1 || ok=
	[ -z "$ours" ] || rm -f $policy
	[ -n "$ok" ] || die "apt-get install ${missing[*]} failed: $(tail -n 3 "$LOG/apt.log")"
}

php_version() { php -r 'echo PHP_MAJOR_VERSION, ".", PHP_MINOR_VERSION;'; }

# ---- processes ------------------------------------------------------------------

# alive prints the recorded id of a server that lives. The folder in its command
# line tells it from a stranger that got the same id later.
alive() { # SERVER
	local pid
	pid=$(tr -dc 0-9 2>/dev/null <"$RUN/$1.pid") || return 1
	[ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$DIR/" || return 1
	echo "$pid"
}

await() { # SECONDS COMMAND...
	local left=$(($1 * 50))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $((left--)) -gt 0 ] || return 1
		sleep 0.02
	done
}

gone() { [ ! -d "/proc/$1" ]; }

stop() { # SERVER...
	local server pid
	for server in "$@"; do
		pid=$(alive "$server") && kill -TERM "$pid" || true
	done
	for server in "$@"; do
		if pid=$(alive "$server") && ! await 15 gone "$pid"; then
			kill -KILL "$pid"
			await 5 gone "$pid" || die "$server ($pid) cannot be ended"
		fi
		rm -f "$RUN/$server.pid"
	done
}

# changed says whether these files differ from the last time it was asked. A server
# is then restarted: after a reload the old workers answer for a while.
changed() { # FILE...
	local sum
	sum=$(cat "$@" | sha256sum)
	[ "$(cat "$RUN/$(basename "$1").sum" 2>/dev/null)" != "$sum" ] || return 1
	echo "$sum" >"$RUN/$(basename "$1").sum"
}

db_answers() { mariadb-admin --no-defaults --socket="$DB_SOCKET" -uroot ping; }

start_mariadb() {
	alive mariadbd >/dev/null && return 0
	local user
	user=$(run_as mysql)
	if [ ! -d "$DIR/db/mysql" ]; then
		mariadb-install-db --no-defaults --user="$user" --datadir="$DIR/db" --tmpdir="$DIR/tmp/db" \
			--skip-test-db --auth-root-authentication-method=normal >"$LOG/mariadb-install.log" 2>&1 ||
			die "mariadb-install-db failed, see $LOG/mariadb-install.log"
	fi
	setsid mariadbd --no-defaults --user="$user" --datadir="$DIR/db" --tmpdir="$DIR/tmp/db" \
		--socket="$DB_SOCKET" --pid-file="$RUN/mariadbd.pid" --skip-networking --skip-name-resolve \
		--max-connections=600 --innodb-buffer-pool-size=64M --performance-schema=OFF \
		--character-set-server=utf8mb4 </dev/null >"$LOG/mariadb.log" 2>&1 &
	await 60 db_answers || die "MariaDB did not start: $(tail -n 3 "$LOG/mariadb.log")"
	mariadb --no-defaults --socket="$DB_SOCKET" -uroot <<-SQL
		CREATE DATABASE IF NOT EXISTS $DB_NAME CHARACTER SET utf8mb4;
		CREATE USER IF NOT EXISTS '$DB_USER'@'localhost' IDENTIFIED BY '$DB_PASSWORD';
		GRANT ALL ON $DB_NAME.* TO '$DB_USER'@'localhost';
		CREATE USER IF NOT EXISTS '$HOLDLINE_DB_USER'@'localhost' IDENTIFIED BY '$HOLDLINE_DB_PASSWORD';
		GRANT SELECT ON $DB_NAME.* TO '$HOLDLINE_DB_USER'@'localhost';
	SQL
}

start_fpm() {
	if changed "$ETC/php-fpm.conf"; then stop php-fpm; fi
	alive php-fpm >/dev/null && return 0
	rm -f "$FPM_SOCKET" "$FPM_STATUS_SOCKET"
	setsid "php-fpm$(php_version)" --fpm-config "$ETC/php-fpm.conf" </dev/null >"$LOG/php-fpm.out" 2>&1 ||
		die "PHP-FPM did not start: $(tail -n 3 "$LOG/php-fpm.out" "$LOG/php-fpm.log")"
	await 60 test -S "$FPM_SOCKET" || die "PHP-FPM made no socket"
}

start_nginx() {
	if changed "$ETC/nginx.conf" "$ETC"/holdline-nginx*.conf; then stop nginx; fi
	alive nginx >/dev/null && return 0
	setsid nginx -e "$LOG/nginx-error.log" -c "$ETC/nginx.conf" </dev/null >"$LOG/nginx.out" 2>&1 ||
		die "nginx did not start: $(tail -n 3 "$LOG/nginx.out")"
	await 60 curl -fsS -o /dev/null "$UPSTREAM_URL/fpm-status" || die "nginx does not answer on $UPSTREAM_URL"
}

start_apache() {
	if changed "$ETC/apache.conf" "$ETC"/holdline-apache*.conf; then stop apache2; fi
	alive apache2 >/dev/null && return 0
	setsid apache2 -f "$ETC/apache.conf" -k start </dev/null >"$LOG/apache.out" 2>&1 ||
		die "Apache did not start: $(tail -n 3 "$LOG/apache.out")"
	await 60 curl -fsS -o /dev/null "$APACHE_URL/wp-includes/js/jquery/jquery.min.js" ||
		die "Apache does not answer on $APACHE_URL: $(tail -n 3 "$LOG/apache-error.log")"
}

# watch_owner brings the site down after the owner's end: a test that was killed
# leaves nothing running.
watch_owner() { # PID
	local watcher
	if watcher=$(alive owner); then kill -TERM -- "-$watcher"; fi
	setsid bash -c 'tail --pid="$1" -s 0.5 -f /dev/null; exec "$2" down "$3"' \
		_ "$1" "$HERE/site.sh" "$DIR/" </dev/null >"$LOG/owner.log" 2>&1 &
	echo $! >"$RUN/owner.pid"
}

# ---- commands -------------------------------------------------------------------

up() {
	settle "${1:-}"
	shift
	local plugin=$HERE/plugin/holdline-testchat owner=
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || usage
		case $1 in
		--http) HTTP_PORT=$2 ;;
		--apache) APACHE_PORT=$2 ;;
		--children) CHILDREN=$2 ;;
		--plugin) plugin=$2 ;;
		--holdline) HOLDLINE=$2 ;;
		--secret) SECRET=$2 ;;
		--rules) RULES=$2 ;;
		--owner) owner=$2 ;;
		*) usage ;;
		esac
		shift 2
	done
	ls "$plugin"/*.php >/dev/null 2>&1 || die "$plugin holds no WordPress plugin"
	mkdir -p "$ETC" "$RUN" "$LOG" "$DIR/db" "$DIR/tmp/db"
	install_packages
	chmod 755 "$DIR"
	# PHP and MariaDB write their sockets and logs under users of their own.
	chmod 1777 "$RUN" "$LOG" "$DIR/tmp"
	[ "$(id -u)" != 0 ] || chown mysql: "$DIR/db" "$DIR/tmp/db"
	as_www test -r "$DIR/tmp" || die "the user www-data cannot enter $DIR: choose a folder that others may enter"
	settings
	start_mariadb &
	local database=$!
	lay_wordpress
	write_config
	lay_plugins "$plugin"
	wait "$database" || exit 1
	php_in_wp install.php "$URL" "$WP_PASSWORD" "$(basename "$(realpath "$plugin")")" || die "WordPress could not be installed"
	start_fpm
	start_nginx
	start_apache
	[ -z "$owner" ] || watch_owner "$owner"
	await 60 curl -fsS -o /dev/null "$URL/wp-login.php" || die "WordPress does not answer on $URL"
	echo "WordPress is up: $URL/ (nginx), $APACHE_URL/ (Apache), admin's password $WP_PASSWORD"
}

start() {
	settle "${1:-}" && made
	shift
	local server
	for server in "$@"; do
		case $server in
		mariadbd) start_mariadb ;;
		php-fpm) start_fpm ;;
		nginx) start_nginx ;;
		apache2) start_apache ;;
		*) usage ;;
		esac
	done
}

down() {
	settle "${1:-}"
	local watcher
	# The owner's watcher runs this very script when its time has come: it stays then.
	if watcher=$(alive owner) && [ "$watcher" != $$ ]; then
		kill -TERM -- "-$watcher"
	fi
	rm -f "$RUN/owner.pid"
	stop nginx apache2 php-fpm mariadbd
}

status() {
	settle "${1:-}"
	local server pid all=0
	for server in "${SERVERS[@]}"; do
		if pid=$(alive "$server"); then echo "$server $pid"; else echo "$server -" && all=1; fi
	done
	return $all
}

login() {
	settle "${1:-}" && made
	[ -n "${2:-}" ] || usage
	local jar
	jar=$(mktemp "$DIR/tmp/cookies.XXXXXX")
	# WordPress wants its test cookie back: a browser has it from the form.
	curl -fsS -o /dev/null -c "$jar" "$URL/wp-login.php"
	curl -fsS -o /dev/null -c "$jar" -b "$jar" --data-urlencode "log=$2" --data-urlencode "pwd=$WP_PASSWORD" \
		-d testcookie=1 -d wp-submit=1 "$URL/wp-login.php"
	# The same cookie is set for several paths; netscape's format marks HttpOnly lines.
	awk -F '\t' 'NF == 7 && !seen[$6]++ { printf "%s%s=%s", n++ ? "; " : "Cookie: ", $6, $7 } END { print "" }' "$jar" >"$jar.header"
	grep -q 'wordpress_logged_in_' "$jar.header" || { rm -f "$jar" "$jar.header" && die "$2 could not log in"; }
	cat "$jar.header"
	rm -f "$jar" "$jar.header"
}

[ $# -ge 1 ] || usage
command=$1
shift
case $command in
up) up "$@" ;;
start) start "$@" ;;
down) down "$@" ;;
status) status "$@" ;;
env) settle "${1:-}" && made && print_env ;;
login) login "$@" ;;
php)
	settle "${1:-}" && made
	shift
	run_php "$@"
	;;
*) usage ;;
esac
