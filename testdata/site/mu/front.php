<?php
/*
 * Plugin Name: Two fronts
 * Description: One WordPress under the URLs of nginx and of Apache.
 *
 * The stored site URL is nginx's. A request that came to Apache gets Apache's, so
 * that the pages' own requests stay there. Cookie names keep coming from the stored
 * URL, as they do on a site with one URL: browsers do not tell ports apart, so one
 * login serves both.
 */

call_user_func(
	function () {
		$stored = get_option( 'siteurl' );
		if ( $stored && ! defined( 'COOKIEHASH' ) ) {
			define( 'COOKIEHASH', md5( $stored ) );
		}
		$host = '127.0.0.1:' . SITE_APACHE_PORT;
		if ( ! $stored || ! isset( $_SERVER['HTTP_HOST'] ) || $host !== $_SERVER['HTTP_HOST'] ) {
			return;
		}
		$site = function () use ( $host ) {
			return 'http://' . $host;
		};
		add_filter( 'pre_option_home', $site );
		add_filter( 'pre_option_siteurl', $site );
		// WordPress has made its constants of these from the stored URL by now.
		$moved = function ( $url ) use ( $stored, $host ) {
			return str_replace( $stored . '/', 'http://' . $host . '/', $url );
		};
		add_filter( 'plugins_url', $moved );
		add_filter( 'content_url', $moved );
	}
);
