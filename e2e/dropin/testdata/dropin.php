<?php
/*
 * Plugin Name: Drop-in tests
 * Description: Tells what of a request reached PHP, and answers bit by bit.
 */

header( 'X-Answered-By: PHP' );

foreach ( array( 'wp_ajax_', 'wp_ajax_nopriv_' ) as $dropin_who ) {
	add_action( $dropin_who . 'dropin_echo', 'dropin_echo' );
	add_action( $dropin_who . 'dropin_stream', 'dropin_stream' );
	add_action( $dropin_who . 'dropin_config', 'dropin_config' );
}

function dropin_server( $name ) {
	return isset( $_SERVER[ $name ] ) ? $_SERVER[ $name ] : null;
}

function dropin_echo() {
	$files = array();
	foreach ( $_FILES as $name => $file ) {
		$files[ $name ] = array( $file['name'], $file['type'], $file['size'], $file['error'] ? '' : sha1_file( $file['tmp_name'] ) );
	}
	$input = file_get_contents( 'php://input' );
	$body  = json_encode(
		array(
			'method'        => dropin_server( 'REQUEST_METHOD' ),
			'query'         => $_GET,
			'form'          => $_POST,
			'files'         => $files,
			'input'         => array( strlen( $input ), sha1( $input ) ),
			'length'        => dropin_server( 'CONTENT_LENGTH' ),
			'type'          => preg_replace( '/boundary=.*/', '', (string) dropin_server( 'CONTENT_TYPE' ) ),
			'cookie'        => isset( $_COOKIE['flavour'] ) ? $_COOKIE['flavour'] : null,
			'address'       => dropin_server( 'REMOTE_ADDR' ),
			'https'         => is_ssl(),
			'user_agent'    => dropin_server( 'HTTP_USER_AGENT' ),
			'requested'     => dropin_server( 'HTTP_X_REQUESTED_WITH' ),
			'forwarded_for' => dropin_server( 'HTTP_X_FORWARDED_FOR' ),
			'proto'         => dropin_server( 'HTTP_X_FORWARDED_PROTO' ),
		)
	);
	header( 'Set-Cookie: first=1; Path=/; HttpOnly', false );
	header( 'Set-Cookie: second=a%20b; Path=/wp-admin', false );
	header( 'X-Dropin: yes' );
	if ( isset( $_GET['status'] ) ) {
		status_header( (int) $_GET['status'] );
	}
	if ( isset( $_GET['gzip'] ) ) {
		header( 'Content-Encoding: gzip' );
		$body = gzencode( $body );
	}
	echo $body;
	exit;
}

// What wp-config.php says, as far as PHP has noticed.
function dropin_config() {
	exit( ( defined( 'HOLDLINE_URL' ) ? HOLDLINE_URL : '' ) . ' ' . ( defined( 'HOLDLINE_SECRET' ) ? HOLDLINE_SECRET : '' ) );
}

// A line every 100 ms for five seconds, or until the browser goes.
function dropin_stream() {
	header( 'Content-Type: text/plain' );
	header( 'X-Accel-Buffering: no' );
	while ( ob_get_level() ) {
		ob_end_flush();
	}
	update_option( 'dropin_stream', 'running' );
	register_shutdown_function(
		function () {
			update_option( 'dropin_stream', connection_aborted() ? 'aborted' : 'ended' );
		}
	);
	for ( $i = 0; $i < 50; $i++ ) {
		echo "line $i\n";
		flush();
		usleep( 100000 );
	}
	exit;
}
