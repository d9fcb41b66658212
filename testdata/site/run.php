<?php
/*
 * Runs a PHP file inside WordPress, as site.sh's php command: run.php URL FILE.php
 * [ARG]. In the file $argv is FILE.php and its arguments.
 */

array_shift( $argv );
$_SERVER['HTTP_HOST']       = substr( array_shift( $argv ), strlen( 'http://' ) );
$_SERVER['REQUEST_URI']     = '/';
$_SERVER['REQUEST_METHOD']  = 'GET';
$_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
$_SERVER['REMOTE_ADDR']     = '127.0.0.1';

require getcwd() . '/wp-load.php';
require $argv[0];
