<?php
/* What browsers load: the box in every page, and the agents' pages in wp-admin. */

add_action( 'wp_enqueue_scripts', 'testchat_front_script' );
add_action( 'wp_footer', 'testchat_front_place' );
add_action( 'admin_menu', 'testchat_menu' );
add_action( 'admin_enqueue_scripts', 'testchat_agent_script' );

/** The URL of the loops. Holdline's companion may lead it elsewhere. */
function testchat_ajax_url() {
	return apply_filters( 'wplc_filter_ajax_url', admin_url( 'admin-ajax.php' ) );
}

function testchat_script( $name, $variables ) {
	$plugin = dirname( __DIR__ ) . '/holdline-testchat.php';
	wp_enqueue_script( $name, plugins_url( "js/$name.js", $plugin ), array( 'jquery' ), '1.0', true );
	foreach ( $variables as $variable => $value ) {
		wp_add_inline_script( $name, "var $variable = " . wp_json_encode( $value ) . ';', 'before' );
	}
}

function testchat_front_script() {
	testchat_script(
		'testchat-visitor',
		array(
			'wplc_ajaxurl'             => testchat_ajax_url(),
			'wplc_ajaxurl_site'        => admin_url( 'admin-ajax.php' ),
			'wplc_nonce'               => wp_create_nonce( 'wplc' ),
			'wplc_restapi_endpoint'    => rest_url( 'wp_live_chat_support/v1' ),
			'wplc_restapi_token'       => testchat_rest_token(),
			'wplc_filter_run_override' => apply_filters( 'wplc_filter_run_override', '0' ),
		)
	);
}

function testchat_front_place() {
	echo '<style>#testchat { position: fixed; right: 1em; bottom: 1em; width: 22em; padding: 1em; background: #fff; font: 14px sans-serif; }
		#testchat [hidden] { display: none; } #testchat h2 { font: bold 16px sans-serif; } #testchat input, #testchat button { padding: 4px; font: inherit; }
		#wplc_chatbox { max-height: 14em; overflow: auto; }</style><div id="testchat"></div>';
}

/** The visitor's box: a form to start, the messages, a line to write. */
function testchat_box_html() {
	return '<section id="wplc_box">
	<h2>Chat <small id="wplc_state"></small></h2>
	<form id="wplc_start">
		<input type="text" id="wplc_name" placeholder="Name" value="Guest">
		<input type="text" id="wplc_email" placeholder="Email" value="guest@example.test">
		<button id="wplc_start_chat_btn">Start Chat</button>
	</form>
	<div id="wplc_chatbox"></div>
	<form id="wplc_write" hidden>
		<input type="text" id="wplc_chatmsg" autocomplete="off">
		<button id="wplc_send_msg">Send</button>
		<button type="button" id="wp-live-chat-minimize">Minimise</button>
		<button type="button" id="wplc_end_chat">End</button>
	</form>
</section>';
}

function testchat_menu() {
	add_menu_page( 'Live Chat', 'Live Chat', 'wplc_ma_agent', 'wplivechat-menu', 'testchat_agent_page', 'dashicons-format-chat' );
}

function testchat_agent_script( $page ) {
	if ( 'toplevel_page_wplivechat-menu' !== $page ) {
		return;
	}
	testchat_script(
		'testchat-agent',
		array(
			'wplc_ajaxurl'         => testchat_ajax_url(),
			'wplc_ajax_nonce'      => wp_create_nonce( 'wplc' ),
			'wplc_transient_nonce' => wp_create_nonce( 'wplc' ),
			'wplc_cid'             => isset( $_GET['cid'] ) ? (string) (int) $_GET['cid'] : '',
		)
	);
}

/** The dashboard, or with action=ac the window of one chat, whose opening accepts it. */
function testchat_agent_page() {
	if ( isset( $_GET['action'], $_GET['cid'] ) && 'ac' === $_GET['action'] && testchat_is_agent() ) {
		testchat_open_chat( (int) $_GET['cid'] );
		echo '<div class="wrap"><h1>Chat <small id="wplc_state"></small></h1>
			<div id="admin_chat_box_area"></div>
			<form id="wplc_admin_write"><input type="text" id="wplc_admin_chatmsg" autocomplete="off">
			<button class="button button-primary" id="wplc_admin_send_msg">Send</button>
			<button class="button" type="button" id="wplc_admin_close_chat">Close chat</button></form></div>';
		return;
	}
	echo '<div class="wrap"><h1>Live Chat <small id="wplc_pending"></small></h1>
		<table class="widefat"><tbody id="wplc_chat_list"></tbody></table></div>';
}

/** Every load of the window accepts the chat and leaves a note that the agent joined. */
function testchat_open_chat( $cid ) {
	$user = wp_get_current_user();
	testchat_accept( $cid );
	do_action( 'wplc_hook_accept_chat', array( 'cid' => $cid ), $user->ID );
	$joined = array(
		'ntype'         => 'joined',
		'email'         => md5( $user->user_email ),
		'name'          => $user->display_name,
		'aid'           => $user->ID,
		'agent_tagline' => '',
		'agent_bio'     => '',
		'social_links'  => '',
	);
	do_action( 'wplc_hook_chat_notification', 'joined', $cid, $joined );
	testchat_insert_message( $cid, 'System notification', $user->display_name . ' has joined the chat.', 0, serialize( $joined ) );
}
