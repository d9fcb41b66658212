<?php
/*
 * The REST route of the visitor's End Chat button. The answer's HTTP status is 200
 * whatever its code says, and the token is in every page: it protects nothing.
 */

add_action( 'rest_api_init', 'testchat_rest_routes' );

function testchat_rest_routes() {
	register_rest_route(
		'wp_live_chat_support/v1',
		'/end_chat',
		array(
			'methods'             => 'GET, POST',
			'callback'            => 'testchat_rest_end_chat',
			'permission_callback' => '__return_true',
		)
	);
}

/** The token that is in every page, made at first use. */
function testchat_rest_token() {
	$token = get_option( 'wplc_api_secret_token' );
	if ( ! $token ) {
		$token = wp_generate_password( 32, false );
		update_option( 'wplc_api_secret_token', $token );
	}
	return $token;
}

/** Ends a chat: status 1, which the visitor's loop turns into 8. */
function testchat_rest_end_chat( WP_REST_Request $request ) {
	if ( ! hash_equals( testchat_rest_token(), (string) $request['token'] ) ) {
		return array( 'response' => 'Secret token is invalid', 'code' => '401' );
	}
	$row = testchat_session( (string) $request['chat_id'] );
	if ( ! $row ) {
		return array( 'response' => 'There is no such chat', 'code' => '404' );
	}
	wplc_change_chat_status( $row->id, 1 );
	do_action( 'wplc_send_transcript_hook', $row->id );
	return array(
		'response' => 'Success',
		'code'     => '200',
		'data'     => array(
			'chat_id'  => (int) $row->id,
			'agent_id' => (int) $request['agent_id'],
		),
	);
}
