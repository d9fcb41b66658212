<?php
// As much of WordPress as a signed call that stores nothing touches, for `php -S`.
// SITE_CONFIG is the wp-config.php that this "site" has, with its keys.
if (strpos($_SERVER['REQUEST_URI'], '/wp-admin/admin-ajax.php') !== 0) {
    return false;
}
define('ABSPATH', __DIR__ . '/');
require getenv('SITE_CONFIG');

$actions = array();
function add_action($name, $f, $priority = 10)
{
    global $actions;
    $actions[$name][] = $f;
}
function add_filter()
{
}
function status_header($status)
{
    http_response_code($status);
}
function nocache_headers()
{
    header('Cache-Control: no-cache');
}
function wp_json_encode($value)
{
    return json_encode($value);
}

class Database
{
    public $prefix = 'wp_';

    public function get_var($sql)
    {
        return '120';
    }
}

$wpdb = new Database();
require __DIR__ . '/../../../wordpress/holdline.php';
$name = 'wp_ajax_nopriv_' . (isset($_REQUEST['action']) ? $_REQUEST['action'] : '');
if (!isset($actions[$name])) {
    http_response_code(400); // as admin-ajax.php does
    echo '0';
    exit;
}
call_user_func($actions[$name][0]);
