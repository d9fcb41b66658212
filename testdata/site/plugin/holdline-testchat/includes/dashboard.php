<?php
/* The loop of the agents' dashboard: the list of visitors, told when it changes. */

function testchat_dashboard_round() {
	$old = stripslashes( testchat_post( 'wplc_update_admin_chat_table' ) );
	$old = in_array( $old, array( '', 'false' ), true ) ? false : $old;

	$agent = testchat_is_agent();
	return function () use ( $old, $agent ) {
		if ( ! $agent ) {
			return array( 'error' => 1 );
		}
		$pending = testchat_anybody_pending();
		$list    = json_encode( testchat_visitor_list() );
		if ( $list === $old ) {
			return null;
		}
		return array(
			'old_chat_data'                => $old,
			'wplc_update_admin_chat_table' => $list,
			'pending'                      => $pending,
			'action'                       => 'wplc_update_chat_list',
		);
	};
}

function testchat_anybody_pending() {
	global $wpdb;
	foreach ( $wpdb->get_col( 'SELECT other FROM ' . testchat_table( 'wplc_chat_sessions' ) . ' WHERE status = 2' ) as $other ) {
		$other = testchat_unserialize( $other );
		if ( isset( $other['unanswered'] ) ) {
			return true;
		}
	}
	return false;
}

function testchat_visitor_list() {
	global $wpdb;
	$rows = $wpdb->get_results(
		'SELECT * FROM ' . testchat_table( 'wplc_chat_sessions' ) .
		' WHERE status IN (3,2,10,5,8,9,12) ORDER BY timestamp, id'
	);
	$list = array( 'visitor_count' => (string) count( $rows ) );
	$ids  = array();
	foreach ( $rows as $row ) {
		$list[ $row->id ] = testchat_list_entry( $row );
		$ids[ $row->id ]  = true;
	}
	if ( $ids ) {
		$list['ids'] = $ids;
	}
	return $list;
}

function testchat_list_entry( $row ) {
	$seconds = strtotime( current_time( 'mysql' ) ) - strtotime( $row->timestamp );
	$browser = testchat_unserialize( $row->ip );
	$browser = is_array( $browser ) ? $browser : array();
	$browser += array( 'ip' => '', 'user_agent' => '' );
	$other   = testchat_unserialize( $row->other );
	return array(
		'name'      => $row->name,
		'email'     => $row->email,
		'status'    => $row->status,
		'action'    => apply_filters( 'wplc_filter_list_chats_actions', testchat_list_action( $row ), $row, $row->id ),
		'timestamp' => wplc_time_ago( $seconds ),
		'type'      => $seconds < 3600 ? 'New' : 'Returning',
		'image'     => '<img src="//www.gravatar.com/avatar/' . md5( $row->email ) . "?s=30&d=mm\"  class='wplc-user-message-avatar' />",
		'data'      => array(
			'browsing'          => $row->url,
			'browsing_nice_url' => testchat_short_path( $row->url ),
			'browser'           => testchat_browser_picture( $browser['user_agent'] ),
			'ip'                => '' === $browser['ip'] ? 'IP Address not recorded'
				: "<a href='http://www.ip-adress.com/ip_tracer/{$browser['ip']}' title='Whois for {$browser['ip']}'>{$browser['ip']}</a>",
		),
		'other'     => is_array( $other ) ? $other : '',
	);
}

function testchat_list_action( $row ) {
	if ( '5' === $row->status ) {
		return '<a href="javascript:void(0);" id="wplc_initiate_chat" class="wplc_initiate_chat button button-secondary">Initiate Chat</a>';
	}
	if ( '8' === $row->status || '9' === $row->status ) {
		return '';
	}
	return sprintf(
		'<a href="%s" class="wplc_open_chat button button-primary" window-title="WP_Live_Chat_%s">%s</a>',
		admin_url( 'admin.php?page=wplivechat-menu&action=ac&cid=' . $row->id ),
		$row->id,
		'2' === $row->status ? 'Accept Chat' : 'Open Chat'
	);
}

/** The path of a URL, cut to 20 bytes at a whole character; null without a path. */
function testchat_short_path( $url ) {
	if ( '' === $url ) {
		return '';
	}
	$path = parse_url( $url, PHP_URL_PATH );
	if ( ! is_string( $path ) || strlen( $path ) <= 20 ) {
		return $path ? $path : null;
	}
	return wp_check_invalid_utf8( substr( $path, 0, 20 ), true ) . '...';
}

/** The browser's name and picture. The pictures are those of the plugin's own folder. */
function testchat_browser_picture( $agent ) {
	$known = array(
		'MSIE'       => array( 'Internet Explorer', 'internet-explorer' ),
		'Trident'    => array( 'Internet Explorer', 'internet-explorer' ),
		'Edge'       => array( 'Internet Explorer', 'internet-explorer' ),
		'Firefox'    => array( 'Mozilla Firefox', 'firefox' ),
		'Chrome'     => array( 'Google Chrome', 'chrome' ),
		'Opera Mini' => array( 'Opera', 'opera' ),
		'Opera'      => array( 'Opera', 'opera' ),
		'Safari'     => array( 'Safari', 'safari' ),
		''           => array( 'Other browser', 'web' ),
	);
	foreach ( $known as $mark => $browser ) {
		if ( '' === $mark || false !== strpos( $agent, (string) $mark ) ) {
			break;
		}
	}
	list( $name, $file ) = $browser;
	return "<img src='" . plugins_url( '/wp-live-chat-support/' ) . "/images/{$file}_16x16.png' alt='$name' title='$name' /> ";
}

/** An age in the plugin's words: minutes up to an hour, then the next unit that fits. */
function wplc_time_ago( $seconds ) {
	if ( $seconds <= 60 ) {
		return '0 min';
	}
	$units = array( // length in seconds, up to how many, one, many
		array( 60, 60, 'min', 'min' ),
		array( 3600, 24, 'hr', 'hrs' ),
		array( 86400, 7, 'day', 'days' ),
		array( 604800, 4.3, 'week', 'weeks' ),
		array( 2600640, 12, 'month', 'months' ),
		array( 31207680, INF, 'year', 'years' ),
	);
	foreach ( $units as $unit ) {
		list( $length, $most, $one, $many ) = $unit;

		$count = (int) round( $seconds / $length );
		if ( $count <= $most ) {
			break;
		}
	}
	return $count . ' ' . ( 1 === $count ? $one : $many );
}
