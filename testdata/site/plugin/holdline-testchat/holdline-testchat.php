<?php
/*
 * Plugin Name: Holdline test chat
 * Description: A small live chat for Holdline's tests. It keeps its chats in the tables of WP Live Chat Support 8 and speaks that plugin's held admin-ajax loops, so that a test site needs nobody else's code.
 * Version:     1.0
 * License:     MIT
 *
 * Written from a description of the protocol. Not for real sites: like the plugin it
 * stands in for, it tells a chat to anybody who knows its number.
 *
 * The wplc_ names of functions, hooks, options and JavaScript variables are those that
 * other code (Holdline's companion plugin above all) calls on a real site.
 */

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

global $wplc_version; // by which other code sees that the plugin is active
$wplc_version = '8.0.25';

require __DIR__ . '/includes/sessions.php';
require __DIR__ . '/includes/messages.php';
require __DIR__ . '/includes/loops.php';
require __DIR__ . '/includes/visitor-loop.php';
require __DIR__ . '/includes/dashboard.php';
require __DIR__ . '/includes/actions.php';
require __DIR__ . '/includes/rest.php';
require __DIR__ . '/includes/pages.php';

register_activation_hook( __FILE__, 'testchat_create_tables' );
