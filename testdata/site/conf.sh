# conf.sh: what site.sh remembers and writes below DIR. Sourced, never run.
# shellcheck shell=bash disable=SC2154

# ---- settings -------------------------------------------------------------------

SETTINGS=(HTTP_PORT APACHE_PORT UPSTREAM_PORT NGINX_INNER_PORT APACHE_INNER_PORT CHILDREN HOLDLINE SECRET RULES WP_PASSWORD
	DB_NAME DB_USER DB_PASSWORD HOLDLINE_DB_USER HOLDLINE_DB_PASSWORD SALTS)

random() { head -c 200 /dev/urandom | base64 -w0 | tr -dc 'A-Za-z0-9' | head -c "$1"; }

# free_ports prints five ports that nobody listens on, all different. They lie below
# those that the kernel gives to others until the servers listen (see freeport.go).
free_ports() {
	php -r 'for ($i = 0; $i < 500 && count($s ?? []) < 5; $i++) {
		$port = random_int(20000, 31999);
		if ($one = @stream_socket_server("tcp://127.0.0.1:$port")) {
			$s[] = $one;
			echo $port, " ";
		}
	}'
}

# settings fills in what was not given, remembers all, and derives the rest.
settings() {
	local free
	read -r -a free <<<"$(free_ports)"
	: "${HTTP_PORT:=${free[0]}}" "${APACHE_PORT:=${free[1]}}" "${UPSTREAM_PORT:=${free[2]}}"
	# Nothing listens on these two: they are for rules that open a door of their own.
	: "${NGINX_INNER_PORT:=${free[3]}}" "${APACHE_INNER_PORT:=${free[4]}}"
	: "${CHILDREN:=5}" "${HOLDLINE:=}" "${SECRET:=}" "${RULES:=}" "${WP_PASSWORD:=$(random 16)}"
	: "${DB_NAME:=wordpress}" "${DB_USER:=wordpress}" "${DB_PASSWORD:=$(random 20)}"
	: "${HOLDLINE_DB_USER:=holdline}" "${HOLDLINE_DB_PASSWORD:=$(random 20)}" "${SALTS:=$(random 48)}"
	local port
	for port in "$HTTP_PORT" "$APACHE_PORT" "$CHILDREN"; do
		[[ $port =~ ^[1-9][0-9]*$ ]] || die "not a port or a number of workers: $port"
	done
	# A quote would end the PHP string that it is written into.
	[[ $HOLDLINE =~ ^(https?://[][A-Za-z0-9.:-]+)?$ ]] || die "--holdline is not http://host:port: $HOLDLINE"
	[[ $SECRET =~ ^[A-Za-z0-9+/=_.-]*$ ]] || die "--secret may have letters, digits and +/=_.- only"
	[ -z "$RULES" ] || RULES=$(realpath "$RULES") || die "there is no folder --rules"
	local name
	for name in "${SETTINGS[@]}"; do printf '%s=%q\n' "$name" "${!name}"; done >"$ETC/site.env"
	chmod 600 "$ETC/site.env"
	derive
}

derive() {
	URL=http://127.0.0.1:$HTTP_PORT APACHE_URL=http://127.0.0.1:$APACHE_PORT
	UPSTREAM_URL=http://127.0.0.1:$UPSTREAM_PORT
	DB_SOCKET=$RUN/mariadb.sock FPM_SOCKET=$RUN/php-fpm.sock FPM_STATUS_SOCKET=$RUN/php-fpm-status.sock
}

print_env() {
	local name
	for name in URL APACHE_URL UPSTREAM_URL HTTP_PORT APACHE_PORT UPSTREAM_PORT NGINX_INNER_PORT APACHE_INNER_PORT \
		CHILDREN HOLDLINE RULES \
		DB_SOCKET DB_NAME DB_USER DB_PASSWORD HOLDLINE_DB_USER HOLDLINE_DB_PASSWORD FPM_SOCKET WP_PASSWORD; do
		printf '%s=%q\n' "$name" "${!name}"
	done
	echo "WP_CONFIG=$WP/wp-config.php"
	echo "FPM_STATUS_URL=$UPSTREAM_URL/fpm-status?json"
	echo "# curl -H \"\$($HERE/site.sh login $DIR agent1)\" $URL/wp-admin/"
}

# ---- WordPress ------------------------------------------------------------------

# lay_wordpress copies Debian's WordPress: its tree points into other packages (-L)
# and one link of it into nowhere.
lay_wordpress() {
	if [ ! -f "$WP/wp-load.php" ]; then
		rm -rf "$WP"
		mkdir -p "$WP.part/wp-content/uploads" "$WP.part/wp-content/mu-plugins"
		(cd /usr/share/wordpress && find . -xtype l -print0 | tar -chf - --null --exclude-from=- --exclude=./wp-config.php .) |
			tar -C "$WP.part" -xf -
		[ "$(id -u)" != 0 ] || chown -R www-data: "$WP.part/wp-content"
		mv "$WP.part" "$WP"
	fi
	cp "$HERE/mu/front.php" "$WP/wp-content/mu-plugins/front.php"
	cat >"$WP/.htaccess" <<-'END'
		# BEGIN WordPress
		RewriteEngine On
		RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
		RewriteBase /
		RewriteRule ^index\.php$ - [L]
		RewriteCond %{REQUEST_FILENAME} !-f
		RewriteCond %{REQUEST_FILENAME} !-d
		RewriteRule . /index.php [L]
		# END WordPress
	END
}

# lay_plugins copies the chat plugin, and the companion where the checkout has it.
lay_plugins() { # FOLDER
	local name
	name=$(basename "$(realpath "$1")")
	rm -rf "${WP:?}/wp-content/plugins/$name"
	cp -rL "$1" "$WP/wp-content/plugins/$name"
	local companion=$HERE/../../wordpress/holdline.php mu=$WP/wp-content/mu-plugins/holdline.php
	rm -f "$mu"
	if [ -f "$companion" ] && [ -n "$HOLDLINE" ] && [ -n "$SECRET" ]; then cp "$companion" "$mu"; fi
}

# php_in_wp runs one of this folder's PHP files in WordPress's. Files are copied
# first: www-data may be unable to enter the checkout.
php_in_wp() { # install.php|run.php ARG...
	local tool=$DIR/tmp/$1
	cp "$HERE/$1" "$tool"
	chmod 644 "$tool"
	shift
	(cd "$WP" && as_www env -i PATH=/usr/bin:/bin HOME="$DIR/tmp" TMPDIR="$DIR/tmp" \
		php -d memory_limit=256M -d sendmail_path=/bin/true -d log_errors=1 -d error_log="$LOG/php-cli.log" "$tool" "$@")
}

run_php() { # FILE.php [ARG]...
	[ -f "${1:-}" ] || die "there is no PHP file ${1:-}"
	local copy code=0
	copy=$(mktemp "$DIR/tmp/run.XXXXXX.php")
	cat "$1" >"$copy"
	chmod 644 "$copy"
	shift
	php_in_wp run.php "$URL" "$copy" "$@" || code=$?
	rm -f "$copy"
	return $code
}

# ---- files under etc ------------------------------------------------------------

write_config() {
	write_wp_config >"$WP/wp-config.php.part"
	[ "$(id -u)" != 0 ] || chown www-data: "$WP/wp-config.php.part"
	chmod 640 "$WP/wp-config.php.part"
	mv "$WP/wp-config.php.part" "$WP/wp-config.php"
	write_fpm >"$ETC/php-fpm.conf"
	# Debian's sends the host without its port, with which WordPress would redirect for ever.
	sed 's/\(HTTP_HOST[[:space:]]*\)\$host;/\1$http_host;/' /etc/nginx/fastcgi_params >"$ETC/fastcgi_params"
	grep -q '^fastcgi_param *HTTP_HOST' "$ETC/fastcgi_params" || echo 'fastcgi_param HTTP_HOST $http_host;' >>"$ETC/fastcgi_params"
	write_nginx >"$ETC/nginx.conf"
	write_apache >"$ETC/apache.conf"
	write_rules
}

write_wp_config() {
	cat <<-END
		<?php
		define( 'DB_NAME', '$DB_NAME' );
		define( 'DB_USER', '$DB_USER' );
		define( 'DB_PASSWORD', '$DB_PASSWORD' );
		define( 'DB_HOST', 'localhost:$DB_SOCKET' );
		define( 'DB_CHARSET', 'utf8mb4' );
		define( 'DB_COLLATE', '' );
	END
	local name
	for name in AUTH_KEY SECURE_AUTH_KEY LOGGED_IN_KEY NONCE_KEY AUTH_SALT SECURE_AUTH_SALT LOGGED_IN_SALT NONCE_SALT; do
		echo "define( '$name', '$name $SALTS' );"
	done
	cat <<-END
		define( 'WP_HTTP_BLOCK_EXTERNAL', true ); // loopback only
		define( 'DISABLE_WP_CRON', true ); // no requests of its own while something is measured
		define( 'AUTOMATIC_UPDATER_DISABLED', true );
		define( 'WP_DEBUG', false );
		define( 'SITE_APACHE_PORT', $APACHE_PORT );
	END
	if [ -n "$HOLDLINE" ]; then echo "define( 'HOLDLINE_URL', '$HOLDLINE' );"; fi
	if [ -n "$SECRET" ]; then echo "define( 'HOLDLINE_SECRET', '$SECRET' );"; fi
	cat <<-'END'
		$table_prefix = 'wp_';
		if ( ! defined( 'ABSPATH' ) ) {
			define( 'ABSPATH', __DIR__ . '/' );
		}
		require_once ABSPATH . 'wp-settings.php';
	END
}

# Static: a pool that grows with demand takes seconds to reach its limit, and the
# limit is what the tests are about. The status page has a socket of its own, or
# it would wait for a free worker too.
write_fpm() {
	cat <<-END
		[global]
		pid = $RUN/php-fpm.pid
		error_log = $LOG/php-fpm.log
		daemonize = yes
		[www]
		user = $(run_as www-data)
		group = $(id -gn "$(run_as www-data)")
		listen = $FPM_SOCKET
		listen.mode = 0666
		pm = static
		pm.max_children = $CHILDREN
		pm.status_path = /fpm-status
		pm.status_listen = $FPM_STATUS_SOCKET
		catch_workers_output = yes
		env[TMPDIR] = $DIR/tmp
		php_admin_value[error_log] = $LOG/php-errors.log
		php_admin_flag[log_errors] = on
		php_admin_flag[display_errors] = off
		php_admin_value[sys_temp_dir] = $DIR/tmp
		php_admin_value[upload_tmp_dir] = $DIR/tmp
		php_admin_value[post_max_size] = 64M
		php_admin_value[upload_max_filesize] = 64M
		php_admin_value[sendmail_path] = /bin/true
	END
}

write_nginx() {
	cat <<-END
		user $(run_as www-data) $(id -gn "$(run_as www-data)");
		worker_processes 2;
		worker_rlimit_nofile 16384;
		pid $RUN/nginx.pid;
		error_log $LOG/nginx-error.log;
		events { worker_connections 4096; }
		http {
		  include /etc/nginx/mime.types;
		  sendfile on;
		  access_log $LOG/nginx-access.log;
		  client_max_body_size 64m;
		  client_body_temp_path $DIR/tmp/nginx-body;
		  proxy_temp_path $DIR/tmp/nginx-proxy;
		  fastcgi_temp_path $DIR/tmp/nginx-fastcgi;
		  uwsgi_temp_path $DIR/tmp/nginx-uwsgi;
		  scgi_temp_path $DIR/tmp/nginx-scgi;
		  include fastcgi_params;
		  fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;
		  fastcgi_read_timeout 120s;
		  root $WP;
		  index index.php;
		  include $ETC/holdline-nginx-http.conf;

		  # What visitors see.
		  server {
		    listen 127.0.0.1:$HTTP_PORT backlog=4096;
		    include $ETC/holdline-nginx.conf;
		    location / { try_files \$uri \$uri/ /index.php?\$args; }
		    location ~ \.php\$ { try_files \$uri =404; fastcgi_pass unix:$FPM_SOCKET; }
		    location @php { fastcgi_pass unix:$FPM_SOCKET; }
		  }

		  # wordpress.upstream: PHP for what Holdline forwards, never through Holdline.
		  server {
		    listen 127.0.0.1:$UPSTREAM_PORT backlog=4096;
		    set_real_ip_from 127.0.0.1;
		    real_ip_header X-Forwarded-For;
		    location / { try_files \$uri \$uri/ /index.php?\$args; }
		    location ~ \.php\$ { try_files \$uri =404; fastcgi_pass unix:$FPM_SOCKET; }
		    location = /fpm-status {
		      fastcgi_param SCRIPT_NAME /fpm-status;
		      fastcgi_param SCRIPT_FILENAME /fpm-status;
		      include fastcgi_params;
		      fastcgi_pass unix:$FPM_STATUS_SOCKET;
		      access_log off;
		    }
		  }
		}
	END
}

write_apache() {
	local m
	for m in mpm_event authz_core alias dir mime env setenvif headers remoteip rewrite proxy proxy_fcgi proxy_http \
		proxy_wstunnel proxy_balancer lbmethod_byrequests slotmem_shm; do
		echo "LoadModule ${m}_module /usr/lib/apache2/modules/mod_$m.so"
	done
	cat <<-END
		ServerRoot $ETC
		ServerName 127.0.0.1
		Listen 127.0.0.1:$APACHE_PORT
		User $(run_as www-data)
		Group $(id -gn "$(run_as www-data)")
		PidFile $RUN/apache2.pid
		DefaultRuntimeDir $RUN
		Mutex file:$RUN default
		ErrorLog $LOG/apache-error.log
		CustomLog $LOG/apache-access.log "%h %t \"%r\" %>s %b"
		TypesConfig /etc/mime.types
		ServerLimit 8
		ThreadsPerChild 64
		MaxRequestWorkers 512
		StartServers 2
		Timeout 120
		ProxyTimeout 120
		# For all hosts, as Debian's php-fpm.conf: without it one would show PHP's source.
		<FilesMatch "\.php\$">
		  SetHandler "proxy:unix:$FPM_SOCKET|fcgi://localhost"
		</FilesMatch>
		Include $ETC/holdline-apache-server.conf
		<VirtualHost 127.0.0.1:$APACHE_PORT>
		  DocumentRoot $WP
		  DirectoryIndex index.php
		  <Directory $WP>
		    AllowOverride All
		    Require all granted
		  </Directory>
		  Include $ETC/holdline-apache.conf
		</VirtualHost>
	END
}

# ---- Holdline in the path -------------------------------------------------------

# write_rules fills the slots of the two fronts. Without Holdline they are empty.
write_rules() {
	local slot
	for slot in nginx-http nginx apache-server apache; do : >"$ETC/holdline-$slot.conf"; done
	[ -n "$HOLDLINE" ] || return 0
	if [ -n "$RULES" ]; then
		for slot in nginx-http nginx apache-server apache; do
			[ ! -f "$RULES/$slot.conf" ] || cp "$RULES/$slot.conf" "$ETC/holdline-$slot.conf"
		done
		return 0
	fi
	cat >"$ETC/holdline-nginx.conf" <<-END
		location = /wp-admin/admin-ajax.php {
		  proxy_pass $HOLDLINE;
		  proxy_http_version 1.1;
		  proxy_set_header Host \$http_host;
		  proxy_set_header Connection "";
		  proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
		  proxy_set_header X-Forwarded-Proto \$scheme;
		  proxy_connect_timeout 1s;
		  proxy_read_timeout 120s;
		  error_page 502 504 = @php;
		}
		location /holdline/v1/ {
		  proxy_pass $HOLDLINE;
		  proxy_http_version 1.1;
		  proxy_buffering off;
		  proxy_set_header Host \$http_host;
		  proxy_set_header Upgrade \$http_upgrade;
		  proxy_set_header Connection \$http_connection;
		  proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
		  proxy_set_header X-Forwarded-Proto \$scheme;
		  proxy_read_timeout 120s;
		}
	END
	# A balancer's hot standby (+H) takes over when the first member refuses. Not retry=0:
	# the same request would ask the dead member again instead.
	cat >"$ETC/holdline-apache.conf" <<-END
		ProxyPreserveHost On
		<Proxy balancer://holdline>
		  BalancerMember $HOLDLINE connectiontimeout=1 timeout=120 retry=1
		  BalancerMember $UPSTREAM_URL status=+H timeout=120
		</Proxy>
		ProxyPass /wp-admin/admin-ajax.php balancer://holdline/wp-admin/admin-ajax.php
		ProxyPass /holdline/v1/ $HOLDLINE/holdline/v1/ upgrade=websocket timeout=120 flushpackets=on
	END
}
