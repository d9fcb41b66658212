<?php
// Calls functions of the companion plugin that need no WordPress: reads
// [["name", [arguments]], …] and prints the results.
define('ABSPATH', '/');
require __DIR__ . '/../holdline.php';
$results = array();
foreach (json_decode(stream_get_contents(STDIN), true) as $call) {
    $results[] = call_user_func_array($call[0], $call[1]);
}
echo json_encode($results);
