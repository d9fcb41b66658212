<?php
/*
 * The held loops: one request asks again and again in PHP until there is something
 * to say or its time is over. That is what Holdline takes off PHP's hands.
 */

foreach ( array( 'wplc_call_to_server_visitor', 'wplc_admin_long_poll', 'wplc_admin_long_poll_chat' ) as $testchat_action ) {
	add_action( 'wp_ajax_' . $testchat_action, 'wplc_init_ajax_callback' );
}
add_action( 'wp_ajax_nopriv_wplc_call_to_server_visitor', 'wplc_init_ajax_callback' );
add_action( 'admin_head', 'wplc_update_chat_statuses' );

/** Answers all three loops. The body is JSON under text/html, or empty. */
function wplc_init_ajax_callback() {
	testchat_check_nonce();
	if ( session_status() === PHP_SESSION_ACTIVE ) {
		session_write_close();
	}
	$action = testchat_post( 'action' );
	if ( 'wplc_call_to_server_visitor' === $action ) {
		testchat_hold( testchat_visitor_round(), true );
	} elseif ( 'wplc_admin_long_poll' === $action ) {
		testchat_hold( testchat_dashboard_round(), true );
	} elseif ( 'wplc_admin_long_poll_chat' === $action ) {
		testchat_hold( testchat_agent_round(), false );
	}
	die(); // a GET, or nothing to say: 200 and an empty body
}

/** Only who is logged in needs a nonce: a cached page carries an old one. */
function testchat_check_nonce() {
	if ( is_user_logged_in() ) {
		check_ajax_referer( 'wplc', 'security' ); // -1 with 403
	}
}

/** Rounds and pause in microseconds: 55 times half a second unless set otherwise. */
function testchat_hold_length() {
	$set   = get_option( 'wplc_advanced_settings' );
	$value = function ( $name, $least, $most, $default ) use ( $set ) {
		return isset( $set[ $name ] ) ? min( $most, max( $least, (int) $set[ $name ] ) ) : $default;
	};
	return array(
		$value( 'wplc_iterations', 10, 200, 55 ),
		$value( 'wplc_delay_between_loops', 250000, 1000000, 500000 ),
	);
}

/**
 * Runs rounds until one returns an array, and prints that.
 *
 * @param callable $round  gets the round's number from 1, returns an array or null
 * @param bool     $ageing whether this loop ages all chats half-way
 */
function testchat_hold( $round, $ageing ) {
	list( $rounds, $pause ) = testchat_hold_length();
	$half                   = (int) round( $rounds / 2 );
	set_time_limit( 120 );
	for ( $i = 1; $i <= $rounds; $i++ ) {
		if ( $ageing && 0 === $i % $half ) {
			wplc_update_chat_statuses();
		}
		$answer = $round( $i );
		if ( null !== $answer ) {
			echo json_encode( $answer );
			return;
		}
		usleep( $pause );
	}
}

/** The loop of an agent's chat window. */
function testchat_agent_round() {
	$cid       = sanitize_text_field( testchat_post( 'cid' ) );
	$status    = sanitize_text_field( testchat_post( 'chat_status' ) );
	$first_run = 'true' === testchat_post( 'first_run' );
	$agent     = testchat_is_agent();
	return function () use ( $cid, $status, $first_run, $agent ) {
		if ( ! $agent ) {
			return array( 'chat_message' => 'security issue', 'action' => 'wplc_new_chat_message' );
		}
		if ( $first_run ) { // marks nothing as told: unread rows come once more
			return array( 'chat_history' => wplc_return_chat_messages( $cid ), 'action' => 'wplc_chat_history' );
		}
		$answer  = array();
		$session = testchat_session( $cid );
		$current = $session ? $session->status : null;
		if ( $current != $status ) {
			$answer['chat_status'] = $current;
			$answer['action']      = 'wplc_update_chat_status';
		}
		$messages = testchat_take_new_messages( $cid, array( 2, 3 ) );
		if ( $messages ) {
			$answer['chat_message'] = $messages;
			$answer['action']       = 'wplc_new_chat_message';
		}
		return $answer ? $answer : null;
	};
}
