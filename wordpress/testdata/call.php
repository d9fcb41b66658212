<?php
// Calls functions of the companion plugin that need no WordPress: reads
// [["name", [arguments]], …] and prints the results.
define('ABSPATH', '/');
foreach (array('AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE') as $scheme) {
    define($scheme . '_KEY', str_repeat(strtolower($scheme), 8) . '_key');
    define($scheme . '_SALT', str_repeat(strtolower($scheme), 8) . '_salt');
}
function add_action()
{
}
function add_filter()
{
}
require __DIR__ . '/../holdline.php';
$results = array();
foreach (json_decode(stream_get_contents(STDIN), true) as $call) {
    $results[] = call_user_func_array($call[0], $call[1]);
}
echo json_encode($results);
