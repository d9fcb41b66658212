<?php
/* The one-shot actions: what visitors and agents do. */

$testchat_anybody = array( 'get_chat_box', 'start_chat', 'user_send_msg', 'user_close_chat', 'user_minimize_chat', 'user_maximize_chat' );
$testchat_agents  = array( 'admin_send_msg', 'admin_accept_chat', 'admin_close_chat', 'admin_set_transient', 'admin_remove_transient' );
foreach ( $testchat_anybody as $testchat_action ) {
	add_action( 'wp_ajax_nopriv_wplc_' . $testchat_action, 'wplc_action_callback' );
}
foreach ( array_merge( $testchat_anybody, $testchat_agents ) as $testchat_action ) {
	add_action( 'wp_ajax_wplc_' . $testchat_action, 'wplc_action_callback' );
}

/** Runs the function testchat_do_* of the asked action and prints what it returns. */
function wplc_action_callback() {
	testchat_check_nonce();
	$do = preg_replace( '/^wplc_/', 'testchat_do_', testchat_post( 'action' ) );
	if ( function_exists( $do ) ) {
		echo $do( sanitize_text_field( testchat_post( 'cid' ) ) );
	}
	die();
}

/** The box in the page, and a note for the agents where a chat is under way. */
function testchat_do_get_chat_box( $cid ) {
	$answer = array( 'cbox' => testchat_box_html(), 'online' => testchat_agent_online() );
	$row    = testchat_session( $cid );
	if ( ! $row ) {
		return json_encode( $answer );
	}
	if ( '5' !== $row->status ) {
		$page = isset( $_SERVER['HTTP_REFERER'] ) ? esc_url( $_SERVER['HTTP_REFERER'] ) : '';
		do_action( 'wplc_hook_chat_notification', 'user_loaded', $cid, array() );
		testchat_insert_message( $cid, 'System notification', "User is browsing <small><a href='$page' target='_BLANK'>$page</a></small>", 3 );
	}
	$answer['cid']  = $cid;
	$answer['type'] = $row->agent_id > 0 ? 'returning' : 'new';
	return json_encode( $answer );
}

/** A visitor asks for a chat: status 2, and the clock of its age starts anew. */
function testchat_do_start_chat( $cid ) {
	$name  = sanitize_text_field( testchat_post( 'name' ) );
	$email = sanitize_text_field( testchat_post( 'email' ) );
	if ( '' === $name || '' === $email ) {
		return 'error2';
	}
	$columns = testchat_browser_columns() + array(
		'status'    => 2,
		'timestamp' => current_time( 'mysql' ),
		'name'      => $name,
		'email'     => sanitize_email( $email ),
		'session'   => sanitize_text_field( testchat_post( 'wplcsession' ) ),
		'other'     => serialize( array( 'unanswered' => true ) ),
	);
	if ( '' === $cid ) {
		$cid = testchat_insert_session( $columns );
	} else {
		$row   = testchat_session( $cid );
		$other = $row ? testchat_unserialize( $row->other ) : null;
		$other = is_array( $other ) ? $other : array();

		$columns['other'] = serialize( array_merge( $other, array( 'unanswered' => true, 'welcome' => true ) ) );
		do_action( 'wplc_hook_initiate_chat', array( 'cid' => $cid, 'name' => $name, 'email' => $email ) );
		testchat_update_session( $cid, $columns );
	}
	do_action( 'wplc_start_chat_hook_after_data_insert', $cid );
	return (string) $cid;
}

/** The text as it comes, slashes of WordPress included, with the few tags that may stay. */
function testchat_posted_text() {
	return strip_tags( testchat_post( 'msg' ), '<p><a><img><hr>' );
}

function testchat_do_user_send_msg( $cid ) {
	wplc_record_chat_msg( '1', $cid, testchat_posted_text() );
	return 'sent'; // whatever became of it
}

function testchat_do_admin_send_msg( $cid ) {
	wplc_record_chat_msg( '2', $cid, testchat_posted_text() );
	return 'sent';
}

function testchat_do_user_close_chat( $cid ) {
	$after  = array( '5' => 9, '3' => 8 );
	$status = testchat_post( 'status' );
	if ( isset( $after[ $status ] ) ) {
		wplc_change_chat_status( $cid, $after[ $status ] );
	}
	return '';
}

function testchat_do_user_minimize_chat( $cid ) {
	wplc_change_chat_status( $cid, 10 );
	return '';
}

function testchat_do_user_maximize_chat( $cid ) {
	wplc_change_chat_status( $cid, (int) testchat_post( 'chat_status' ) ); // whatever the browser says
	return '';
}

function testchat_do_admin_accept_chat( $cid ) {
	if ( testchat_is_agent() ) {
		testchat_accept( $cid );
	}
	return '';
}

/** The chat becomes the current agent's. */
function testchat_accept( $cid ) {
	testchat_update_session( $cid, array( 'agent_id' => get_current_user_id() ) );
	wplc_change_chat_status( $cid, 3, get_current_user_id() );
}

function testchat_do_admin_close_chat( $cid ) {
	if ( testchat_is_agent() ) {
		wplc_change_chat_status( $cid, 1 );
	}
	return 'done';
}

/** The agents' pages say every minute that somebody is there. */
function testchat_do_admin_set_transient() {
	if ( testchat_is_agent() ) {
		set_transient( 'wplc_is_admin_logged_in', '1', 70 );
		update_user_meta( get_current_user_id(), 'wplc_chat_agent_online', time() );
		do_action( 'wplc_hook_set_transient' );
	}
	return '';
}

function testchat_do_admin_remove_transient() {
	delete_transient( 'wplc_is_admin_logged_in' );
	do_action( 'wplc_hook_remove_transient' );
	return '';
}
