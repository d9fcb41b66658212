<?php
/*
 * Installs WordPress once, with the users that the tests log in as, and activates a
 * plugin. Run by site.sh in WordPress's folder: install.php URL PASSWORD PLUGIN-FOLDER.
 * On a site that is installed it sees to the plugin only.
 */

$url = $argv[1];

$_SERVER = array_merge(
	$_SERVER,
	array(
		'HTTP_HOST'       => substr( $url, strlen( 'http://' ) ),
		'REQUEST_URI'     => '/',
		'REQUEST_METHOD'  => 'GET',
		'SERVER_PROTOCOL' => 'HTTP/1.1',
		'REMOTE_ADDR'     => '127.0.0.1',
	)
);

define( 'WP_INSTALLING', true );
define( 'WP_SITEURL', $url );
require getcwd() . '/wp-load.php'; // it has global variables of its own: $plugin is one
require_once ABSPATH . 'wp-admin/includes/upgrade.php';
require_once ABSPATH . 'wp-admin/includes/plugin.php';

// Replaces WordPress's own, which writes a mail.
function wp_new_blog_notification() {}

function site_install( $url, $password ) {
	$admin = wp_install( 'Holdline test site', 'admin', 'admin@example.test', true, '', wp_slash( $password ), 'en_US' );
	$users = array(
		array( 'agent1', 'editor' ),
		array( 'subscriber1', 'subscriber' ),
	);
	foreach ( $users as $user ) {
		list( $login, $role ) = $user;

		$id = wp_insert_user(
			array(
				'user_login'   => $login,
				'user_pass'    => $password,
				'user_email'   => $login . '@example.test',
				'display_name' => ucfirst( $login ),
				'role'         => $role,
			)
		);
		if ( is_wp_error( $id ) ) {
			fwrite( STDERR, $id->get_error_message() . "\n" );
			exit( 1 );
		}
	}
	foreach ( array( $admin['user_id'], username_exists( 'agent1' ) ) as $agent ) {
		update_user_meta( $agent, 'wplc_ma_agent', 1 );
		( new WP_User( $agent ) )->add_cap( 'wplc_ma_agent' );
	}
	site_options( $url );
}

function site_options( $url ) {
	update_option( 'siteurl', $url );
	update_option( 'home', $url );
	update_option( 'permalink_structure', '/%postname%/' );
	update_option( 'timezone_string', 'Europe/Helsinki' );
	update_option( 'show_avatars', 0 ); // pictures of another host
	switch_theme( 'twentytwentyone' );
	wp_insert_post(
		array(
			'post_type'    => 'page',
			'post_status'  => 'publish',
			'post_title'   => 'Shop',
			'post_name'    => 'shop',
			'post_content' => 'An ordinary page.',
		)
	);
	delete_option( 'rewrite_rules' ); // the first request builds them
}

// site_activate makes the given plugin the only active one.
function site_activate( $folder ) {
	foreach ( array_keys( get_plugins( '/' . $folder ) ) as $file ) {
		$plugin = $folder . '/' . $file;
		if ( array( $plugin ) === get_option( 'active_plugins' ) ) {
			return;
		}
		update_option( 'active_plugins', array() );
		$result = activate_plugin( $plugin );
		if ( is_wp_error( $result ) ) {
			fwrite( STDERR, $plugin . ': ' . $result->get_error_message() . "\n" );
			exit( 1 );
		}
		return;
	}
	fwrite( STDERR, "$folder holds no WordPress plugin\n" );
	exit( 1 );
}

if ( ! is_blog_installed() ) {
	site_install( $argv[1], $argv[2] );
} elseif ( get_option( 'siteurl' ) !== $argv[1] ) {
	update_option( 'siteurl', $argv[1] );
	update_option( 'home', $argv[1] );
}
site_activate( $argv[3] );
