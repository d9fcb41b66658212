<?php
// As much of WordPress as the companion plugin touches, for `php -S`: hooks,
// transients in a file, and a $wpdb that writes statements down instead of
// running them. SITE_DIR is a folder of the test's.

if (strpos($_SERVER['REQUEST_URI'], '/wp-admin/admin-ajax.php') !== 0 && $_SERVER['REQUEST_URI'] !== '/page') {
    return false;
}
define('ABSPATH', __DIR__ . '/');
define('ARRAY_A', 'ARRAY_A');
define('HOLDLINE_URL', getenv('SITE_HOLDLINE'));
define('HOLDLINE_SECRET', getenv('SITE_SECRET'));
define('HOLDLINE_REROUTE', true);
define('HOLDLINE_PUSH', (bool) getenv('SITE_PUSH'));
ini_set('error_log', getenv('SITE_DIR') . '/error.log');

function note($kind, $text)
{
    file_put_contents(getenv('SITE_DIR') . '/' . $kind, $text . "\n", FILE_APPEND | LOCK_EX);
}

$wp_filter = array();
function add_filter($name, $f, $priority = 10)
{
    global $wp_filter;
    $wp_filter[$name][$priority][] = array('function' => $f);
    ksort($wp_filter[$name]);
}
function add_action($name, $f, $priority = 10)
{
    add_filter($name, $f, $priority);
}
function apply_filters($name, $value = null)
{
    global $wp_filter;
    foreach (isset($wp_filter[$name]) ? $wp_filter[$name] : array() as $callbacks) {
        foreach ($callbacks as $callback) {
            $value = call_user_func($callback['function'], $value);
        }
    }
    return $value;
}
function do_action($name, $value = null)
{
    note('hooks', $name . ' ' . json_encode($value));
    apply_filters($name, $value);
}

function transients()
{
    $file = getenv('SITE_DIR') . '/transients';
    return file_exists($file) ? json_decode(file_get_contents($file), true) : array();
}
function get_transient($name)
{
    $all = transients();
    return isset($all[$name]) ? $all[$name] : false;
}
function set_transient($name, $value, $life)
{
    $all = transients();
    $all[$name] = $value;
    file_put_contents(getenv('SITE_DIR') . '/transients', json_encode($all));
}

function current_time($form) { return '2019-03-19 10:31:00'; }
function get_option($name) { return array('wplc_user_no_answer' => 'It\\\'s late', 'wplc_record_ip_address' => 1); }
function get_locale() { return 'de_DE'; }
function get_current_blog_id() { return 1; }
function __($text, $domain) { return $text === 'Admin' ? 'Betreuung' : $text; }
function wp_slash($text) { return addslashes($text); }
function sanitize_text_field($text) { return trim(preg_replace('/%[a-f0-9]{2}/i', '', strip_tags($text))); }
function status_header($status) { http_response_code($status); }
function nocache_headers() { header('Cache-Control: no-cache'); }
function wp_json_encode($value, $flags = 0) { return json_encode($value, $flags); }
function admin_url($path) { return '/wp-admin/' . $path; }
function is_ssl() { return false; }
function is_admin() { return false; }
function esc_url($url) { return htmlspecialchars($url, ENT_QUOTES); }
function is_user_logged_in() { return isset($_COOKIE['agent']); }
function get_current_user_id() { return 2; }
function get_user_meta($id, $name, $single) { return $id === 2 && $name === 'wplc_ma_agent' ? '1' : ''; }
function current_user_can($capability) { return false; }
function wplc_update_chat_statuses()
{
    global $wpdb;
    echo 'noise that must not reach the answer';
    $wpdb->query("UPDATE wp_wplc_chat_sessions SET `status` = '1' WHERE `id` = '7'");
}

class Statements
{
    public $prefix = 'wp_';
    public $options = 'wp_options';
    public $insert_id = 0;
    public $last_error = '';

    public function query($sql)
    {
        note('sql', apply_filters('query', $sql));
        return 1;
    }
    public function prepare($sql, $args)
    {
        return vsprintf($sql, (array) $args);
    }
    public function suppress_errors($suppress = true)
    {
        return false;
    }
    public function get_row($sql)
    {
        $this->query($sql);
        if (strpos($sql, 'holdline_since')) {
            return (object) array('last' => '120', 'since' => '100');
        }
        return strpos($sql, 'id = 44 ') ? (object) array('name' => 'Ann', 'email' => 'ann@example.com') : null;
    }
    /** The chats that heartbeats ask for: all but 49, and none when asked for 50 alone. */
    public function get_results($sql, $output)
    {
        $this->query($sql);
        $this->last_error = strpos($sql, '(50)') ? 'Table is marked as crashed' : '';
        $rows = array();
        preg_match_all('/\d+/', substr($sql, strpos($sql, ' IN (')), $ids);
        foreach ($this->last_error === '' ? array_diff($ids[0], array('49')) : array() as $id) {
            $rows[] = array('id' => $id, 'status' => $id === '42' ? '10' : '3', 'session' => 's' . $id, 'url' => 'http://example.com/',
                'ip' => 'a:2:{s:2:"ip";s:0:"";s:10:"user_agent";s:7:"Mozilla";}');
        }
        return $rows;
    }
    public function get_var($sql)
    {
        $this->query($sql);
        return strpos($sql, 'id = 44 ') ? '44' : null;
    }
    public function update($table, $data, $where, $formats, $where_formats)
    {
        if (count($formats) !== count($data) || count($where_formats) !== count($where)) {
            throw new Exception('formats do not match');
        }
        return $this->query("UPDATE $table SET " . json_encode($data) . ' WHERE ' . json_encode($where));
    }
    public function insert($table, $id)
    {
        $this->query("INSERT INTO `$table` (`status`) VALUES ('5')");
        $this->insert_id = $id; // 0 where the real one was refused
    }
}

$wpdb = new Statements();
$wp_version = '6.1.9';
require __DIR__ . '/../holdline.php';
$wplc_version = getenv('SITE_PLUGIN');
add_filter('wplc_filter_admin_name', function ($name) { return $name; }); // of the site's own

register_shutdown_function('do_action', 'shutdown');
if ($_SERVER['REQUEST_URI'] === '/page') {
    do_action('wp_head');
    do_action('wp_print_footer_scripts');
    exit;
}
switch ($_REQUEST['action']) {
    case 'say':
        $wpdb->query("INSERT INTO wp_wplc_chat_msgs (msg) VALUES ('hello')");
        echo 'sent';
        break;
    case 'look':
        $wpdb->query("SELECT * FROM wp_wplc_chat_msgs");
        break;
    case 'begin':
        $wpdb->insert_id = isset($_REQUEST['earlier']) ? (int) $_REQUEST['earlier'] : 0;
        $wpdb->insert('wp_wplc_chat_sessions', (int) $_REQUEST['id']);
        echo 'begun';
        break;
    default:
        do_action('wp_ajax_nopriv_' . $_REQUEST['action']);
}
