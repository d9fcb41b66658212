<?php
/* Chats: the table wplc_chat_sessions, its statuses, and who is an agent. */

/** The table with that suffix: wplc_chat_sessions or wplc_chat_msgs. */
function testchat_table( $suffix ) {
	global $wpdb;
	return $wpdb->prefix . $suffix;
}

function testchat_create_tables() {
	global $wpdb;
	$sessions = testchat_table( 'wplc_chat_sessions' );
	$msgs     = testchat_table( 'wplc_chat_msgs' );
	$charset  = 'ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci';
	$wpdb->query(
		"CREATE TABLE IF NOT EXISTS `$sessions` (
			`id` int(11) NOT NULL AUTO_INCREMENT,
			`timestamp` datetime NOT NULL,
			`name` varchar(700) NOT NULL,
			`email` varchar(700) NOT NULL,
			`ip` varchar(700) NOT NULL,
			`status` int(11) NOT NULL,
			`session` varchar(100) NOT NULL,
			`url` varchar(700) NOT NULL,
			`last_active_timestamp` datetime NOT NULL,
			`agent_id` int(11) NOT NULL,
			`other` longtext NOT NULL,
			`rel` varchar(40) NOT NULL,
			PRIMARY KEY (`id`)
		) $charset"
	);
	$wpdb->query(
		"CREATE TABLE IF NOT EXISTS `$msgs` (
			`id` int(11) NOT NULL AUTO_INCREMENT,
			`chat_sess_id` int(11) NOT NULL,
			`msgfrom` varchar(150) NOT NULL,
			`msg` longtext NOT NULL,
			`timestamp` datetime NOT NULL,
			`status` int(3) NOT NULL,
			`originates` int(3) NOT NULL,
			`other` longtext NOT NULL,
			`rel` varchar(40) NOT NULL,
			`afrom` int(10) NOT NULL,
			`ato` int(10) NOT NULL,
			PRIMARY KEY (`id`)
		) $charset"
	);
	update_option( 'wplc_db_version', '8.0.25' );
}

/** A field of the form as WordPress slashed it; '' when it is missing or no text. */
function testchat_post( $name ) {
	return isset( $_POST[ $name ] ) && is_string( $_POST[ $name ] ) ? $_POST[ $name ] : '';
}

/** Is the current user an agent? User meta decides, not a role. */
function testchat_is_agent() {
	return (bool) get_user_meta( get_current_user_id(), 'wplc_ma_agent', true );
}

/** The row of a chat, or null. MySQL casts the id, so "2abc" is chat 2. */
function testchat_session( $cid ) {
	global $wpdb;
	return $wpdb->get_row( $wpdb->prepare( 'SELECT * FROM ' . testchat_table( 'wplc_chat_sessions' ) . ' WHERE id = %s', $cid ) );
}

/** The row of a chat, as other plugins ask for it. */
function wplc_get_chat_data( $cid ) {
	return apply_filters( 'wplc_filter_get_chat_data', testchat_session( intval( $cid ) ), $cid );
}

function testchat_update_session( $cid, $row ) {
	global $wpdb;
	return $wpdb->update( testchat_table( 'wplc_chat_sessions' ), $row, array( 'id' => $cid ) );
}

/** What a request tells about its browser: the columns of a heartbeat. */
function testchat_browser_columns() {
	$agent   = isset( $_SERVER['HTTP_USER_AGENT'] ) ? sanitize_text_field( $_SERVER['HTTP_USER_AGENT'] ) : '';
	$referer = isset( $_SERVER['HTTP_REFERER'] ) ? sanitize_text_field( $_SERVER['HTTP_REFERER'] ) : '';
	return array(
		'url'                   => $referer,
		'last_active_timestamp' => current_time( 'mysql' ),
		// The address stays empty since the plugin keeps no personal data there.
		'ip'                    => serialize( array( 'ip' => '', 'user_agent' => $agent ) ),
	);
}

/** A visitor's first request makes a chat with status 5, browsing. Returns its id. */
function testchat_insert_session( $row ) {
	global $wpdb;
	$row += testchat_browser_columns();
	$row += array(
		'timestamp' => current_time( 'mysql' ),
		'agent_id'  => 0,
		'other'     => '',
		'rel'       => '',
	);
	$wpdb->insert( testchat_table( 'wplc_chat_sessions' ), $row );
	return $wpdb->insert_id;
}

/** The heartbeat of a visitor: page, browser, page session and status. No hook. */
function wplc_update_user_on_page( $cid, $status = 5, $session = '' ) {
	$row            = testchat_browser_columns();
	$row['status']  = $status;
	$row['session'] = $session;
	testchat_update_session( $cid, $row );
}

function wplc_update_active_timestamp( $cid ) {
	testchat_update_session( $cid, array( 'last_active_timestamp' => current_time( 'mysql' ) ) );
}

/** Sets a chat's status and tells who listens. */
function wplc_change_chat_status( $cid, $status, $agent = 0 ) {
	$row = array( 'status' => $status );
	if ( $agent > 0 ) {
		$session      = testchat_session( $cid );
		$other        = $session ? testchat_unserialize( $session->other ) : array();
		$other        = is_array( $other ) ? $other : array();
		$other['aid'] = $agent;
		$row['other'] = serialize( $other );
	}
	testchat_update_session( $cid, $row );
	do_action( 'wplc_change_chat_status_hook', $cid, $status );
}

/**
 * Ages all chats by the time since they were last active: nobody answered, the
 * visitor left, the chat is over. Site-local digits are compared with site-local
 * digits.
 */
function wplc_update_chat_statuses() {
	global $wpdb;
	$rules = array( // from => after so many seconds, to
		2  => array( 30, 12 ),
		12 => array( 30, 0 ),
		3  => array( 300, 1 ),
		5  => array( 120, 7 ),
		8  => array( 45, 1 ),
		9  => array( 120, 7 ),
		10 => array( 120, 7 ),
	);
	$now  = strtotime( current_time( 'mysql' ) );
	$rows = $wpdb->get_results(
		'SELECT id, status, last_active_timestamp FROM ' . testchat_table( 'wplc_chat_sessions' ) .
		' WHERE status IN (' . implode( ',', array_keys( $rules ) ) . ')'
	);
	foreach ( $rows as $row ) {
		list( $after, $to ) = $rules[ $row->status ];
		if ( $now - strtotime( $row->last_active_timestamp ) >= $after ) {
			wplc_change_chat_status( $row->id, $to );
		}
	}
}

/** Is an agent there? Kept alive by a timer in the agents' pages. */
function testchat_agent_online() {
	return (bool) get_transient( 'wplc_is_admin_logged_in' );
}

/** Reads a serialized array or scalar; objects stay closed. Other text is null. */
function testchat_unserialize( $text ) {
	if ( ! is_serialized( $text ) ) {
		return null;
	}
	return @unserialize( trim( $text ), array( 'allowed_classes' => false ) );
}
