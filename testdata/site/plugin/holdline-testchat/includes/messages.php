<?php
/*
 * Messages: the table wplc_chat_msgs, and the two ways they are told.
 *
 * originates: 0 note for the visitor, 1 agent, 2 visitor, 3 note for agents.
 * status: 0 not told yet, 1 told. A loop sets it when it reads the row.
 */

/** Stores a message. The id is null when MySQL refused it (four-byte characters). */
function testchat_insert_message( $cid, $from, $text, $originates, $other = '', $rel = '' ) {
	global $wpdb;
	$wpdb->insert(
		testchat_table( 'wplc_chat_msgs' ),
		array(
			'chat_sess_id' => $cid,
			'msgfrom'      => $from,
			'msg'          => $text,
			'timestamp'    => current_time( 'mysql' ),
			'status'       => 0,
			'originates'   => $originates,
			'other'        => $other,
			'rel'          => $rel,
			'afrom'        => 0,
			'ato'          => 0,
		)
	);
	return $wpdb->insert_id;
}

/**
 * Records what a visitor ("1") or an agent ("2") wrote; in the table these are 2 and
 * 1. WordPress has put slashes into $text and they stay: the new-message path takes
 * them off again. The hook fires even when nothing was stored.
 *
 * @param bool         $rest_check whether the caller has looked that it is an agent
 * @param int|false    $aid        the agent, if not the current user
 * @param object|false $other      its msgID is the id that the client gave the message
 * @return true|string the string, where nothing was recorded for lack of rights
 */
function wplc_record_chat_msg( $from, $cid, $text, $rest_check = false, $aid = false, $other = false ) {
	$session = testchat_session( $cid );
	if ( ! $session ) {
		$cid = testchat_ghost_session( $cid );
	}
	if ( '2' === (string) $from && ! $rest_check && ! testchat_is_agent() ) {
		return 'security issue';
	}
	if ( '1' === (string) $from ) {
		$name       = $session ? $session->name : 'agent-to-agent chat';
		$name       = '' === $name ? 'Guest' : $name;
		$originates = '2';
	} else {
		$name       = apply_filters( 'wplc_filter_admin_name', 'Admin' );
		$originates = '1';
	}
	$stored = apply_filters( 'wplc_filter_message_control', $text );
	$aid    = $aid ? $aid : get_current_user_id();
	$agent  = get_user_meta( $aid, 'wplc_ma_agent', true ) ? serialize( array( 'aid' => $aid ) ) : '';
	$rel    = false !== $other && ! empty( $other->msgID ) ? $other->msgID : '';
	testchat_insert_message( $cid, $name, $stored, (int) $originates, $agent, $rel );
	do_action( 'wplc_hook_message_sent', array( 'cid' => $cid, 'from' => $from, 'msg' => $text, 'orig' => $originates ) );
	wplc_update_active_timestamp( $cid );
	return true;
}

/** The plugin takes a number that it does not know for a chat between two agents. */
function testchat_ghost_session( $cid ) {
	return testchat_insert_session(
		array(
			'name'    => 'agent-to-agent chat',
			'email'   => 'none',
			'ip'      => '0',
			'url'     => '',
			'status'  => 3,
			'session' => '1',
			'rel'     => $cid,
		)
	);
}

/**
 * Messages of those originators that were not told yet, as they go over the wire
 * (key: row id), or false. Marks them as told.
 */
function testchat_take_new_messages( $cid, $originators ) {
	global $wpdb;
	$table = testchat_table( 'wplc_chat_msgs' );
	$rows  = $wpdb->get_results(
		$wpdb->prepare(
			"SELECT * FROM $table WHERE chat_sess_id = %s AND status = 0 AND originates IN (%d, %d) ORDER BY timestamp, id",
			$cid,
			$originators[0],
			$originators[1]
		)
	);
	$told  = array();
	foreach ( $rows as $row ) {
		$told[ $row->id ] = testchat_new_message( $row );
		$wpdb->update( $table, array( 'status' => 1 ), array( 'id' => $row->id ) );
	}
	return $told ? $told : false;
}

/** One message as a loop tells it when it is new: originates is a number. */
function testchat_new_message( $row ) {
	$originates = (int) $row->originates;
	$other      = testchat_message_other( $row );
	if ( 0 === $originates || 3 === $originates ) {
		return array( 'msg' => $row->msg, 'other' => $other, 'originates' => $originates );
	}
	$text = testchat_unwrap( $row->msg );
	$text = stripslashes( apply_filters( 'wplc_filter_message_control_out', stripslashes( null === $text ? $row->msg : $text ) ) );
	return array( 'msg' => $text, 'originates' => $originates, 'other' => $other );
}

/** The text in a message that the plugin's paid add-on has wrapped, or null. */
function testchat_unwrap( $text ) {
	$value = testchat_unserialize( $text );
	return is_array( $value ) && isset( $value['e'], $value['m'] ) ? $value['m'] : null;
}

/** The column other with the message's time: local digits as if UTC, and true UTC. */
function testchat_message_other( $row ) {
	$other = testchat_unserialize( $row->other );
	$other = is_array( $other ) ? $other : array();

	$other['datetime']    = strtotime( $row->timestamp . ' UTC' );
	$other['datetimeUTC'] = strtotime( get_gmt_from_date( $row->timestamp ) . ' UTC' );
	return $other;
}

/**
 * The last 100 messages of a chat as a reloaded page gets them (key: rel or row id).
 * Null when the chat has no message, an empty array when none is for this reader.
 */
function wplc_return_chat_messages( $cid, $visitor_loop = false ) {
	global $wpdb;
	$table = testchat_table( 'wplc_chat_msgs' );
	$rows  = $wpdb->get_results(
		$wpdb->prepare(
			"SELECT * FROM (SELECT * FROM $table WHERE chat_sess_id = %s ORDER BY timestamp DESC, id DESC LIMIT 100) newest ORDER BY timestamp, id",
			$cid
		)
	);
	if ( ! $rows ) {
		return null;
	}
	$history = array();
	foreach ( $rows as $row ) {
		$message = testchat_old_message( $row, $visitor_loop );
		if ( $message ) {
			$history[ '' !== $row->rel ? $row->rel : $row->id ] = $message;
		}
	}
	return apply_filters( 'wplc_filter_get_chat_messages', $history, $cid );
}

/** One message of the history, or null when it is not for this reader. Its slashes stay. */
function testchat_old_message( $row, $visitor_loop ) {
	if ( '0' === $row->originates || '3' === $row->originates ) {
		$wanted = testchat_is_agent() ? ( $visitor_loop ? null : '3' ) : '0';
		if ( $row->originates !== $wanted ) {
			return null;
		}
		$when = gmdate( 'd M Y H:i:s', strtotime( $row->timestamp . ' UTC' ) );
		$text = "<span class='chat_time wplc-color-4'>$when</span> <span class='wplc_system_notification wplc-color-4'>$row->msg</span>";
		return array( 'msg' => $text, 'other' => testchat_message_other( $row ), 'originates' => $row->originates );
	}
	$text  = apply_filters( 'wplc_filter_message_control_out', $row->msg );
	$inner = testchat_unwrap( $text );
	$other = testchat_unserialize( $row->other );
	return array(
		'msg'        => null === $inner ? $text : stripslashes( $inner ),
		'originates' => $row->originates,
		'other'      => '1' === $row->originates ? ( null === $other ? $row->other : $other ) : testchat_message_other( $row ),
	);
}
