<?php
/**
 * Plugin Name: Holdline companion
 * Description: Tells Holdline of new chat rows at once, stores messages and makes the few other writes that Holdline's read-only database user cannot, and gives agents' pages a token.
 * Version: 1.0.0
 * License: MIT
 *
 * Put this file into wp-content/mu-plugins. Where Holdline reads this site's
 * wp-config.php and listens where it does by default, that is all. Otherwise:
 *
 *   define('HOLDLINE_URL', 'http://127.0.0.1:8787/holdline/v1'); // where PHP reaches Holdline
 *   define('HOLDLINE_SECRET', '...');                            // the same 32 bytes or more as auth.secret
 *   define('HOLDLINE_PUBLIC_URL', 'https://chat.example.com/holdline/v1'); // where browsers do, if that is not this site
 *   define('HOLDLINE_REROUTE', true);                            // only where no proxy rule can be added
 *   define('HOLDLINE_PUSH', true);                               // 8.x: chat pages wait for news on one line, not in held requests
 *
 * PHP 5.6 to 8, WordPress 4.4 and later.
 */

if (!defined('ABSPATH')) {
    // Nobody loads WordPress: Apache, LiteSpeed or IIS call this file as the
    // error document of a request that Holdline could not take.
    holdline_back_to_php($_SERVER);
    exit;
}

const HOLDLINE_VERSION = 1;        // of the sync contract
const HOLDLINE_SKEW = 300;         // seconds between two clocks, as in Go
const HOLDLINE_MAX_BODY = 1048576; // bytes of a call
const HOLDLINE_MAX_SEND = 50;      // messages of a send call
const HOLDLINE_SEND_TIME = 10;     // seconds after which a send call begins no other message
const HOLDLINE_MAX_BOUND = 16;     // chats in one visitor's cookie, as in Go
const HOLDLINE_COOKIE = 'holdline_visitor';

holdline_start();

/** Registers everything, if the site has been set up. */
function holdline_start()
{
    if (strlen(holdline_secret()) < 32) {
        add_action('admin_notices', 'holdline_notice');
        return;
    }
    add_filter('query', 'holdline_watch');
    add_action('shutdown', 'holdline_ring', PHP_INT_MAX);
    foreach (array('sync', 'send', 'token') as $name) {
        add_action('wp_ajax_holdline_' . $name, 'holdline_' . $name);
        add_action('wp_ajax_nopriv_holdline_' . $name, 'holdline_' . $name);
    }
    add_action('wp_head', 'holdline_head', 1);
    add_action('admin_head', 'holdline_head', 1);
    if (defined('HOLDLINE_REROUTE') && HOLDLINE_REROUTE) {
        // After jQuery and before the plugin's scripts see the document ready.
        add_action('wp_print_footer_scripts', 'holdline_reroute', 99);
        add_action('admin_print_footer_scripts', 'holdline_reroute', 99);
    }
    if (defined('HOLDLINE_PUSH') && HOLDLINE_PUSH) {
        // After the transport above, to be asked before it.
        add_action('wp_print_footer_scripts', 'holdline_push', 100);
        add_action('admin_print_footer_scripts', 'holdline_push', 100);
    }
}

function holdline_notice()
{
    echo '<div class="error"><p>Holdline: the companion plugin is off. Define HOLDLINE_SECRET in wp-config.php with at least 32 bytes, or all eight keys and salts with at least 32 bytes each.</p></div>';
}

/** Where PHP reaches Holdline. An address without a path gets the usual one. */
function holdline_url()
{
    $url = defined('HOLDLINE_URL') ? rtrim(HOLDLINE_URL, '/') : 'http://127.0.0.1:8787';
    return preg_match('~^https?://[^/]+$~', $url) ? $url . '/holdline/v1' : $url;
}

/**
 * The secret that both sides have: the one that was defined, or one made of the
 * site's keys as Go does it (sharedSecret in gateway/site.go). '' when there is none.
 */
function holdline_secret()
{
    static $secret = null;
    if (defined('HOLDLINE_SECRET')) {
        return HOLDLINE_SECRET;
    }
    if ($secret !== null) {
        return $secret;
    }
    $keys = '';
    foreach (array('AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE') as $scheme) {
        foreach (array('_KEY', '_SALT') as $part) {
            $key = defined($scheme . $part) ? (string) constant($scheme . $part) : '';
            if (strlen($key) < 32) {
                return $secret = '';
            }
            $keys .= $key;
        }
    }
    return $secret = hash_hmac('sha256', 'holdline shared secret', $keys);
}

// --- signatures -------------------------------------------------------------------------------

/** The value of X-Holdline-Signature for a call's body. */
function holdline_sign($secret, $timestamp, $body)
{
    return 'sha256=' . hash_hmac('sha256', $timestamp . '.' . $body, $secret);
}

/** Returns '' for a good call, else why it is refused. */
function holdline_check($secret, $timestamp, $signature, $body, $now)
{
    if (!is_string($timestamp) || !preg_match('/^[0-9]{1,12}$/', $timestamp) || !is_string($signature)
        || !hash_equals(holdline_sign($secret, $timestamp, $body), strtolower($signature))) {
        return 'signature';
    }
    return abs($now - (int) $timestamp) > HOLDLINE_SKEW ? 'time' : '';
}

function holdline_base64url($bytes)
{
    return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
}

/** A JWT (RFC 7519) with HS256 and the three claims that Holdline reads. */
function holdline_jwt($secret, $subject, $channels, $expires)
{
    $claims = array('sub' => $subject, 'channels' => array_values($channels), 'exp' => $expires);
    $text = holdline_base64url('{"alg":"HS256","typ":"JWT"}') . '.'
        . holdline_base64url(json_encode($claims, JSON_UNESCAPED_SLASHES | JSON_PARTIAL_OUTPUT_ON_ERROR));
    return $text . '.' . holdline_base64url(hash_hmac('sha256', $text, $secret, true));
}

/** The value of the cookie that binds chats to a browser; Go's token.Binding. */
function holdline_binding($secret, $channels, $expires)
{
    $text = 'v1.' . $expires . '.' . implode('+', $channels);
    return $text . '.' . holdline_binding_mac($secret, $text);
}

/** Returns array(channels, expires) of a cookie's value, array(array(), 0) for a bad one. */
function holdline_bound($secret, $value, $now)
{
    $none = array(array(), 0);
    $dot = is_string($value) ? strrpos($value, '.') : false;
    if ($dot === false || strlen($value) > 4096
        || !hash_equals(holdline_binding_mac($secret, substr($value, 0, $dot)), (string) substr($value, $dot + 1))) {
        return $none;
    }
    $parts = explode('.', substr($value, 0, $dot), 3);
    if (count($parts) !== 3 || $parts[0] !== 'v1' || (int) $parts[1] <= $now) {
        return $none;
    }
    return array(explode('+', $parts[2]), (int) $parts[1]);
}

/** Under a key of its own, so that no token or call can stand for a cookie. */
function holdline_binding_mac($secret, $text)
{
    $key = hash_hmac('sha256', 'holdline visitor binding', $secret, true);
    return holdline_base64url(hash_hmac('sha256', $text, $key, true));
}

// --- the doorbell -----------------------------------------------------------------------------

/**
 * Filter "query": sees every statement before it runs. No hook of the chat plugin
 * covers all its writes, and 5.x has no hooks at all.
 */
function holdline_watch($sql)
{
    holdline_bind();
    if (is_string($sql) && strpos($sql, 'wplc_chat_') !== false) {
        $state = &holdline_state();
        $what = holdline_written($sql);
        if ($what !== '' && !$state['quiet']) {
            $state['rings'] = true;
        }
        if ($what === 'new session') {
            holdline_expect_session();
        }
    }
    return $sql;
}

/** What a statement writes: '' (nothing of a chat), 'chat', or 'new session'. */
function holdline_written($sql)
{
    $head = '~^(?:\s|/\*.*?\*/)*(INSERT|REPLACE|UPDATE|DELETE|TRUNCATE)\b[^\'"]*?wplc_chat_(msgs|sessions)\b~is';
    if (!preg_match($head, $sql, $m)) {
        return '';
    }
    return strtoupper($m[1]) === 'INSERT' && strtolower($m[2]) === 'sessions' ? 'new session' : 'chat';
}

/** What this request remembers. */
function &holdline_state()
{
    static $state = array(
        'rings' => false,  // a row of a chat was written
        'quiet' => false,  // by us, for Holdline
        'before' => null,  // the last row id before the INSERT of a chat
        'send' => null,    // the send call that is under way
    );
    return $state;
}

/**
 * Action "shutdown": one call to Holdline for all that the request wrote, after
 * the browser has its page wherever PHP can end the answer first. Where it
 * cannot, at most 50 ms are spent.
 */
function holdline_ring()
{
    $request = holdline_state();
    if (!$request['rings']) {
        return;
    }
    $state = holdline_breaker();
    if ($state['until'] > time()) {
        return;
    }
    $finished = false;
    foreach (array('fastcgi_finish_request', 'litespeed_finish_request') as $finish) {
        if (!$finished && function_exists($finish)) {
            $finish();
            $finished = true;
        }
    }
    $body = '{"source":"wplc"}';
    $headers = holdline_call_headers(holdline_secret(), $body, time());
    // TLS to another machine takes several round trips: only when nobody waits.
    $cap = $finished && strpos(holdline_url(), 'https:') === 0 ? 1.0 : 0.05;
    if (function_exists('stream_socket_client')) {
        $error = holdline_post(holdline_url() . '/wake', $headers, $body, $cap, $finished);
    } else {
        $answer = wp_remote_post(holdline_url() . '/wake', array(
            'blocking' => false, 'timeout' => $cap, 'headers' => $headers, 'body' => $body,
        ));
        $error = is_wp_error($answer) ? $answer->get_error_message() : '';
    }
    $next = holdline_after($state, $error, time());
    if ($next !== $state) {
        holdline_breaker($next);
    }
    if ($next['logged'] !== $state['logged']) {
        error_log('Holdline: the doorbell at ' . holdline_url() . ' does not work (' . $error
            . '); chats go on, up to a second later. This is told once a minute at most.');
    }
}

function holdline_call_headers($secret, $body, $now)
{
    return array(
        'Content-Type' => 'application/json',
        'X-Holdline-Timestamp' => (string) $now,
        'X-Holdline-Signature' => holdline_sign($secret, (string) $now, $body),
    );
}

/** The circuit breaker after a call: off for 30 s from the third failure in a row. */
function holdline_after($state, $error, $now)
{
    if ($error === '') {
        return array('fails' => 0, 'until' => 0, 'logged' => $state['logged']);
    }
    $state['fails']++;
    if ($state['fails'] >= 3) {
        $state['until'] = $now + 30;
        if ($now - $state['logged'] >= 60) {
            $state['logged'] = $now;
        }
    }
    return $state;
}

/** Reads the breaker, or writes it: in shared memory where PHP has some. */
function holdline_breaker($state = null)
{
    $shared = function_exists('apcu_enabled') && apcu_enabled();
    if ($state !== null) {
        return $shared ? apcu_store('holdline_doorbell', $state, 600) : set_transient('holdline_doorbell', $state, 600);
    }
    $state = $shared ? apcu_fetch('holdline_doorbell') : get_transient('holdline_doorbell');
    return is_array($state) && isset($state['fails'], $state['until'], $state['logged'])
        ? $state : array('fails' => 0, 'until' => 0, 'logged' => 0);
}

/**
 * Posts within $cap seconds and returns '' or what went wrong. The answer is
 * awaited for what is left of the cap, when nobody waits for us; that it has not
 * come by then is no failure.
 */
function holdline_post($url, $headers, $body, $cap, $listen)
{
    $end = microtime(true) + $cap;
    $to = parse_url($url);
    if (!is_array($to) || empty($to['host'])) {
        return 'HOLDLINE_URL is no address';
    }
    $tls = isset($to['scheme']) && $to['scheme'] === 'https';
    $port = isset($to['port']) ? $to['port'] : ($tls ? 443 : 80);
    $options = $tls && defined('WPINC') ? array('ssl' => array('cafile' => ABSPATH . WPINC . '/certificates/ca-bundle.crt')) : array();
    $socket = @stream_socket_client(($tls ? 'tls' : 'tcp') . '://' . $to['host'] . ':' . $port, $number, $text, $cap,
        STREAM_CLIENT_CONNECT, stream_context_create($options));
    if (!$socket) {
        return trim($text) !== '' ? trim($text) : 'it cannot be reached';
    }
    stream_set_blocking($socket, false);
    $request = 'POST ' . (isset($to['path']) ? $to['path'] : '/') . " HTTP/1.1\r\nHost: " . $to['host']
        . (isset($to['port']) ? ':' . $to['port'] : '') . "\r\nConnection: close\r\nContent-Length: " . strlen($body) . "\r\n";
    foreach ($headers as $name => $value) {
        $request .= $name . ': ' . $value . "\r\n";
    }
    $request .= "\r\n" . $body;
    // A few hundred bytes always fit into a fresh socket's buffer.
    $sent = @fwrite($socket, $request);
    $answer = '';
    while ($listen && $sent === strlen($request) && strlen($answer) < 12 && !feof($socket)) {
        $left = $end - microtime(true);
        $read = array($socket);
        $none = null;
        if ($left <= 0 || !@stream_select($read, $none, $none, 0, (int) ($left * 1000000))) {
            break;
        }
        $answer .= (string) fread($socket, 256);
    }
    fclose($socket);
    if ($sent !== strlen($request)) {
        return 'it takes no data';
    }
    if (microtime(true) > $end + 0.05) {
        return 'it is slow, or its name is slow to resolve'; // the resolver knows no cap
    }
    return preg_match('~^HTTP/\d\.\d ([345]\d\d)~', $answer, $m) ? 'it answers ' . $m[1] : '';
}

// --- sync: the writes of PHP's own loops ------------------------------------------------------

/** Ajax action holdline_sync: a signed call of Holdline's. The bodies are in Go's wordpress package. */
function holdline_sync()
{
    list($call, $signature) = holdline_call();
    foreach (array('beats' => 1000, 'transitions' => 1000, 'read' => 5000, 'missed' => 200, 'adopt' => 50) as $name => $most) {
        if (!isset($call[$name]) || !is_array($call[$name])) {
            $call[$name] = array();
        }
        if (count($call[$name]) > $most) {
            holdline_answer(413, array('ok' => false, 'error' => 'size'));
        }
    }
    if (!holdline_first_time($signature, time())) {
        holdline_answer(409, array('ok' => false, 'error' => 'replay'));
    }
    // Other plugins' listeners may print; the answer must stay JSON.
    ob_start();
    $since = holdline_since();
    $adopted = array();
    $ids = array_filter($call['adopt'], 'holdline_is_id');
    foreach (array_unique($ids) as $cid) {
        $adopted[$cid] = holdline_adopt($cid, $since);
    }
    $done = holdline_apply($call);
    $done['skipped'] += count($call['adopt']) - count($ids);
    ob_end_clean();
    holdline_answer(200, array('ok' => true, 'version' => HOLDLINE_VERSION, 'plugin' => holdline_plugin_version(),
        'done' => $done, 'adopted' => (object) $adopted, 'time' => time(),
        'hello' => holdline_hello() + array('since' => $since), 'strings' => holdline_strings()));
}

/** Returns array(call, signature) of the signed call that this request is, or answers why it is none. */
function holdline_call()
{
    $body = file_get_contents('php://input', false, null, 0, HOLDLINE_MAX_BODY + 1);
    if ($body === false || strlen($body) > HOLDLINE_MAX_BODY) {
        holdline_answer(413, array('ok' => false, 'error' => 'size'));
    }
    $timestamp = isset($_SERVER['HTTP_X_HOLDLINE_TIMESTAMP']) ? $_SERVER['HTTP_X_HOLDLINE_TIMESTAMP'] : '';
    $signature = isset($_SERVER['HTTP_X_HOLDLINE_SIGNATURE']) ? $_SERVER['HTTP_X_HOLDLINE_SIGNATURE'] : '';
    $error = holdline_check(holdline_secret(), $timestamp, $signature, $body, time());
    if ($error !== '') {
        holdline_answer(403, array('ok' => false, 'error' => $error, 'time' => time()));
    }
    $call = json_decode($body, true, 8);
    if (!is_array($call)) {
        holdline_answer(400, array('ok' => false, 'error' => 'json'));
    }
    return array($call, strtolower($signature));
}

function holdline_answer($status, $answer)
{
    holdline_print($status, $answer);
    exit;
}

function holdline_print($status, $answer)
{
    status_header($status);
    nocache_headers();
    header('Content-Type: application/json; charset=utf-8');
    echo wp_json_encode($answer);
}

/**
 * Remembers a signature until its timestamp is too old. Two copies in the very
 * same instant may both pass: all writes are conditional, so that costs nothing.
 */
function holdline_first_time($signature, $now)
{
    $seen = get_transient('holdline_calls');
    $kept = array();
    foreach (is_array($seen) ? $seen : array() as $key => $until) {
        if ($until > $now) {
            $kept[$key] = $until;
        }
    }
    $key = substr($signature, 7, 32);
    if (isset($kept[$key])) {
        return false;
    }
    $kept[$key] = $now + 2 * HOLDLINE_SKEW;
    set_transient('holdline_calls', array_slice($kept, -5000, null, true), 2 * HOLDLINE_SKEW);
    return true;
}

/** Makes the writes of one call; each only if the row still is as Holdline saw it. */
function holdline_apply($call)
{
    global $wpdb;
    // What Holdline asks for it need not be told; what ageing changes it must.
    $state = &holdline_state();
    $state['quiet'] = true;
    $done = array('beats' => 0, 'transitions' => 0, 'read' => 0, 'missed' => 0, 'skipped' => 0);
    holdline_beats($done, $call['beats']);
    foreach ($call['transitions'] as $step) {
        $known = array('1>8', '7>5', '12>12', '0>5', '6>3'); // what the loops write; the last with Pro
        if (!is_array($step) || !isset($step['from'], $step['to']) || !is_int($step['from']) || !is_int($step['to'])
            || !in_array($step['from'] . '>' . $step['to'], $known, true)) {
            $done['skipped']++;
            continue;
        }
        holdline_count($done, 'transitions', holdline_beat($step, $step['from'], $step['to']));
    }
    $read = array_filter($call['read'], 'holdline_is_id');
    $done['skipped'] += count($call['read']) - count($read);
    foreach (array_chunk(array_values($read), 500) as $ids) {
        $done['read'] += (int) $wpdb->query($wpdb->prepare("UPDATE {$wpdb->prefix}wplc_chat_msgs SET status = 1"
            . ' WHERE status = 0 AND id IN (' . holdline_marks($ids) . ')', $ids));
    }
    foreach ($call['missed'] as $cid) {
        holdline_count($done, 'missed', holdline_missed($cid));
    }
    $state['quiet'] = false;
    if (isset($call['age']) && $call['age'] === true && function_exists('wplc_update_chat_statuses')) {
        wplc_update_chat_statuses();
    }
    return $done;
}

/** Counts what a write returned: rows, or false for an item that makes no sense. */
function holdline_count(&$done, $name, $rows)
{
    $done[$rows === false ? 'skipped' : $name] += $rows === false ? 1 : $rows;
}

function holdline_is_id($id)
{
    return is_int($id) && $id > 0;
}

/** As many placeholders for $wpdb->prepare as there are ids. */
function holdline_marks($ids)
{
    return implode(',', array_fill(0, count($ids), '%d'));
}

/** Makes and counts the heartbeats of one call. */
function holdline_beats(&$done, $beats)
{
    $good = array();
    foreach ($beats as $beat) {
        // 2 and 12 must be allowed to age.
        if (is_array($beat) && isset($beat['cid'], $beat['status']) && holdline_is_id($beat['cid'])
            && in_array($beat['status'], array(0, 1, 3, 5, 6, 7, 8, 9, 10), true)) {
            $good[] = $beat;
        }
    }
    $done['skipped'] += count($beats) - count($good);
    foreach (array_chunk($good, 500) as $some) {
        holdline_beat_all($done, $some);
    }
}

/**
 * The heartbeats of some hundred chats. Most visitors stay on their page, and so
 * all of their row that would change is the time: those get it together, in one
 * statement for each status. A statement for each heartbeat would make the
 * database's work grow with the number of visitors.
 */
function holdline_beat_all(&$done, $beats)
{
    global $wpdb;
    $table = $wpdb->prefix . 'wplc_chat_sessions';
    $ids = array_values(array_unique(array_column($beats, 'cid')));
    $rows = $wpdb->get_results($wpdb->prepare("SELECT id, status, session, url, ip FROM $table"
        . ' WHERE id IN (' . holdline_marks($ids) . ')', $ids), ARRAY_A);
    if (!is_array($rows) || $wpdb->last_error !== '') {
        $done['skipped'] += count($beats);
        return;
    }
    $rows = array_column($rows, null, 'id');
    $idle = array();
    foreach ($beats as $beat) {
        $cid = $beat['cid'];
        if (!isset($rows[$cid]) || (int) $rows[$cid]['status'] !== $beat['status']) {
            continue;
        }
        // The same keys in the same order, so === tells whether a text differs.
        $next = array_merge($rows[$cid], holdline_visit($beat));
        if ($next === $rows[$cid]) {
            $idle[$beat['status']][$cid] = $cid;
            continue;
        }
        $changed = holdline_beat($beat, $beat['status'], null);
        holdline_count($done, 'beats', $changed);
        if ($changed) {
            $rows[$cid] = $next; // what a second heartbeat of the chat finds
        }
    }
    foreach ($idle as $status => $ids) {
        $changed = $wpdb->query($wpdb->prepare("UPDATE $table SET last_active_timestamp = %s"
            . ' WHERE status = %d AND id IN (' . holdline_marks($ids) . ')',
            array_merge(array(current_time('mysql'), $status), $ids)));
        if ($changed === false) {
            $done['skipped'] += count($ids);
        } else {
            $done['beats'] += $changed;
        }
    }
}

/**
 * The heartbeat of the visitor's loop for one chat, if its status is still $from:
 * the time, what it tells of its visitor, and the status $to when there is one.
 */
function holdline_beat($beat, $from, $to)
{
    global $wpdb;
    if (!isset($beat['cid']) || !holdline_is_id($beat['cid'])) {
        return false;
    }
    $row = array('last_active_timestamp' => current_time('mysql')) + holdline_visit($beat);
    $formats = array_fill(0, count($row), '%s');
    if ($to !== null) {
        $row['status'] = $to;
        $formats[] = '%d';
    }
    return $wpdb->update($wpdb->prefix . 'wplc_chat_sessions', $row,
        array('id' => $beat['cid'], 'status' => $from), $formats, array('%d', '%d'));
}

/** What a heartbeat tells of its visitor, by column, as wplc_update_user_on_page writes it. */
function holdline_visit($beat)
{
    $row = array();
    if (isset($beat['session']) && is_string($beat['session']) && $beat['session'] !== '') {
        $row['session'] = holdline_text($beat['session'], 100);
    }
    if (isset($beat['url']) && is_string($beat['url'])) {
        $row['url'] = holdline_text($beat['url'], 700);
    }
    if (isset($beat['ua']) && is_string($beat['ua'])) {
        $row['ip'] = serialize(array('ip' => holdline_address($beat), 'user_agent' => holdline_text($beat['ua'], 500)));
    }
    return $row;
}

/**
 * A header's text as the plugin would have stored it: WordPress slashes $_SERVER,
 * and the plugin then sanitises it. Cut to the column, and free of what a utf8
 * (three bytes) column refuses, since WordPress would drop the whole heartbeat.
 */
function holdline_text($text, $most)
{
    $text = sanitize_text_field(wp_slash($text));
    $text = preg_replace('/[^\x{0}-\x{FFFF}]/u', '', $text);
    return preg_match('/^.{0,' . (int) $most . '}/us', (string) $text, $m) ? $m[0] : '';
}

/** The visitor's address, which 8.x never stores and 5.x only if told to. */
function holdline_address($beat)
{
    $settings = get_option('WPLC_SETTINGS');
    $old = version_compare(holdline_plugin_version(), '8', '<') && holdline_plugin_version() !== '';
    return $old && is_array($settings) && !empty($settings['wplc_record_ip_address'])
        && isset($beat['ip']) && filter_var($beat['ip'], FILTER_VALIDATE_IP) ? $beat['ip'] : '';
}

/** Tells the site that nobody answered a chat, if that is still so. */
function holdline_missed($cid)
{
    global $wpdb;
    if (!holdline_is_id($cid)) {
        return false;
    }
    $row = $wpdb->get_row($wpdb->prepare(
        "SELECT name, email FROM {$wpdb->prefix}wplc_chat_sessions WHERE id = %d AND status = 12", $cid));
    if (!$row) {
        return 0;
    }
    do_action('wplc_hook_missed_chat', array('cid' => (string) $cid, 'name' => $row->name, 'email' => $row->email));
    return 1;
}

/** The chat plugin's version, '' when it is not active. Every version since 3 sets this global. */
function holdline_plugin_version()
{
    global $wplc_version;
    return is_string($wplc_version) ? $wplc_version : '';
}

/** What Holdline wants to know of the site before it answers loops by itself. */
function holdline_hello()
{
    global $wp_version;
    return array(
        'wordpress' => (string) $wp_version, 'php' => PHP_VERSION, 'locale' => get_locale(), 'blog' => get_current_blog_id(),
        'ages' => function_exists('wplc_update_chat_statuses'), 'sends' => holdline_sends(),
        'reroute' => defined('HOLDLINE_REROUTE') && (bool) HOLDLINE_REROUTE, 'custom' => holdline_custom_filters(),
    );
}

/**
 * Filters that shape the loops' answers and on which something else than the
 * chat plugin listens: such answers only PHP can make.
 */
function holdline_custom_filters()
{
    global $wp_filter;
    $custom = array();
    $names = array('message_control', 'message_control_out', 'admin_name', 'admin_from', 'get_chat_data', 'get_chat_messages',
        'user_long_poll_chat_loop_iteration', 'admin_long_poll_chat_loop_iteration', 'wplc_call_to_server_visitor_new_status_check',
        'list_chats_actions', 'aid_in_action', 'no_answer_string');
    foreach ($names as $name) {
        $name = 'wplc_filter_' . $name;
        if (empty($wp_filter[$name])) {
            continue;
        }
        $hook = $wp_filter[$name];
        foreach (is_object($hook) ? $hook->callbacks : $hook as $callbacks) {
            foreach ($callbacks as $callback) {
                if (strpos(holdline_file_of($callback['function']), 'wp-live-chat-support') === false) {
                    $custom[$name] = true;
                }
            }
        }
    }
    return array_keys($custom);
}

/** The file in which a callback is written, '' when that cannot be told. */
function holdline_file_of($callback)
{
    try {
        if (is_string($callback) && strpos($callback, '::') !== false) {
            $callback = explode('::', $callback, 2);
        }
        if (is_object($callback) && !($callback instanceof Closure)) {
            $callback = array($callback, '__invoke');
        }
        $code = is_array($callback) ? new ReflectionMethod($callback[0], $callback[1]) : new ReflectionFunction($callback);
        return (string) $code->getFileName();
    } catch (Exception $e) { // ReflectionException
        return '';
    } catch (Error $e) { // TypeError; PHP 5 has no such class and does not mind
        return '';
    }
}

/** The texts of the loops' answers, in the site's language. */
function holdline_strings()
{
    $settings = get_option('WPLC_SETTINGS');
    return array(
        'admin' => __('Admin', 'wplivechat'),
        'agent_ended' => __('Admin has closed and ended the chat', 'wplivechat'),
        'no_answer' => is_array($settings) && isset($settings['wplc_user_no_answer'])
            ? stripslashes($settings['wplc_user_no_answer'])
            : __('No agent was able to answer your chat request. Please try again.', 'wplivechat'),
        'retry' => __('Request new chat', 'wplivechat'),
        'no_answer_5' => __('There is No Answer. Please Try Again Later', 'wplivechat'),
        'guest' => __('Guest', 'wplivechat'),
        'no_email' => __('no email set', 'wplivechat'),
        'ip_not_recorded' => __('IP Address not recorded', 'wplivechat'),
        'accept_chat' => __('Accept Chat', 'wplivechat'),
        'open_chat' => __('Open Chat', 'wplivechat'),
        'initiate_chat' => __('Initiate Chat', 'wplivechat'),
        'new' => __('New', 'wplivechat'),
        'returning' => __('Returning', 'wplivechat'),
    );
}

// --- send: messages that Holdline has accepted ------------------------------------------------

/**
 * Ajax action holdline_send: makes rows of messages, in their order, by the chat
 * plugin's own function, so that all its hooks and filters run. Each is made once
 * however often it is sent, so a call may be repeated.
 */
function holdline_send()
{
    global $wpdb;
    list($call) = holdline_call();
    $messages = isset($call['messages']) && is_array($call['messages']) ? array_values($call['messages']) : array();
    if (count($messages) > HOLDLINE_MAX_SEND) {
        holdline_answer(413, array('ok' => false, 'error' => 'size'));
    }
    if (method_exists($wpdb, 'send_reads_to_masters')) {
        $wpdb->send_reads_to_masters(); // HyperDB: a replica lags, and has locks of its own
    }
    $state = &holdline_state();
    $state['send'] = array('left' => $messages, 'results' => array(), 'one' => null, 'lock' => '', 'asked' => null,
        'last' => (int) $wpdb->get_var("SELECT MAX(id) FROM {$wpdb->prefix}wplc_chat_msgs"), 'level' => ob_get_level());
    add_action('wplc_hook_message_sent', 'holdline_sent', -PHP_INT_MAX);
    // A listener may end the request, and take with it what is done already.
    add_action('shutdown', 'holdline_send_over', -PHP_INT_MAX);
    ob_start();
    $send = &$state['send'];
    $stuck = array();
    $end = time() + HOLDLINE_SEND_TIME;
    while ($send['left'] && time() < $end) {
        $one = holdline_message(array_shift($send['left']));
        $cid = $one ? $one['cid'] : 0;
        $send['one'] = $one;
        $result = isset($stuck[$cid]) ? array() : holdline_send_one($one); // none overtakes an earlier one
        $send['one'] = null;
        $send['results'][] = $result;
        if (isset($result['again'])) {
            $stuck[$cid] = true;
        }
    }
    holdline_send_over();
    exit;
}

/** Answers a send call, also where PHP is about to end in the middle of it. */
function holdline_send_over()
{
    $state = &holdline_state();
    $send = $state['send'];
    if ($send === null) {
        return;
    }
    if ($send['one']) {
        $id = holdline_row_of($send['one']);
        $send['results'][] = $id ? array('id' => $id) : array('again' => true);
    }
    holdline_lock('');
    $state['send'] = null;
    while (ob_get_level() > $send['level'] && ob_end_clean()) {
        continue; // what listeners have printed
    }
    $results = array_pad($send['results'], count($send['results']) + count($send['left']), array());
    holdline_print(200, array('ok' => true, 'version' => HOLDLINE_VERSION, 'time' => time(),
        'results' => array_map('holdline_object', $results)));
}

/** An array as JSON's object, also when it is empty. */
function holdline_object($array)
{
    return (object) $array;
}

/** A message with its chat as 'cid', null for what is none. */
function holdline_message($m)
{
    if (!is_array($m) || !isset($m['channel'], $m['client_id'], $m['from'], $m['body'], $m['after'])
        || !is_string($m['channel']) || !preg_match('~^wplc/([1-9][0-9]{0,9})$~D', $m['channel'], $chat)
        || !is_string($m['client_id']) || !preg_match('/^[A-Za-z0-9_-]{8,36}$/D', $m['client_id'])
        || !in_array($m['from'], array('visitor', 'agent'), true) || !is_string($m['body']) || !is_int($m['after'])
        || $m['from'] === 'agent' && (!isset($m['user']) || !holdline_is_id($m['user']))) {
        return null;
    }
    return array('cid' => (int) $chat[1]) + $m;
}

/**
 * Makes the row of one message and returns what became of it: array('id' => ...),
 * array('refused' => a reason, 'text' => ...) for one that never can be, or
 * array('again' => true) where it may work later.
 */
function holdline_send_one($m)
{
    if (!$m) {
        return holdline_refused('bad_request', 'The message makes no sense.');
    }
    $later = array('again' => true);
    if (holdline_plugin_version() === '') {
        return $later; // the chat plugin may be about to come back
    }
    if (!holdline_sends()) {
        return holdline_refused('unsupported', 'This version of the chat plugin takes messages from its own pages only.');
    }
    if (!holdline_lock($m['cid'])) {
        return $later;
    }
    // Before all that may have changed since: a row that is there is the answer.
    $id = holdline_row_of($m);
    if ($id !== 0) {
        return $id ? array('id' => $id) : $later;
    }
    $open = holdline_takes_messages($m['cid']);
    if (!$open) {
        return $open === null ? $later : holdline_refused('closed', 'The chat has ended.');
    }
    wp_set_current_user($m['from'] === 'agent' ? $m['user'] : 0);
    if ($m['from'] === 'agent' && !holdline_is_agent()) {
        return holdline_refused('forbidden', 'The sender is no agent any more.');
    }
    $text = holdline_as_html($m['body']);
    return trim($text) === '' ? holdline_refused('empty', 'There is no text.') : holdline_record($m, wp_slash($text));
}

function holdline_refused($reason, $text)
{
    return array('refused' => $reason, 'text' => $text);
}

/** Whether the plugin's function takes a client's id, by which a message is known when it comes again. */
function holdline_sends()
{
    return version_compare(holdline_plugin_version(), '8', '>=') && function_exists('wplc_record_chat_msg');
}

/** Whether a chat is under way (pending, active, minimised, unanswered); null when that cannot be told. */
function holdline_takes_messages($cid)
{
    global $wpdb;
    $status = $wpdb->get_var($wpdb->prepare("SELECT status FROM {$wpdb->prefix}wplc_chat_sessions WHERE id = %d", $cid));
    return $wpdb->last_error !== '' ? null : $status !== null && in_array((int) $status, array(2, 3, 10, 12), true);
}

/**
 * Holds one chat's lock for this connection and lets the former one go; '' holds
 * none. Two calls for a chat must not both find that a message has no row.
 */
function holdline_lock($cid)
{
    global $wpdb;
    $state = &holdline_state();
    // Locks are the server's, not the database's; 64 characters are MySQL's limit.
    $name = $cid === '' ? '' : 'holdline ' . md5(DB_NAME . ' ' . $wpdb->prefix) . ' ' . $cid;
    $held = $state['send']['lock'];
    if ($name === $held) {
        return true;
    }
    if ($held !== '') {
        $wpdb->query($wpdb->prepare('SELECT RELEASE_LOCK(%s)', $held));
    }
    $got = $name === '' || $wpdb->get_var($wpdb->prepare('SELECT GET_LOCK(%s, 1)', $name)) === '1';
    $state['send']['lock'] = $got ? $name : '';
    return $got;
}

/**
 * The id of a message's row, 0 for none, null when that cannot be told. It walks
 * the primary key from where the table ended when Holdline took the message: no
 * other column has an index. A table that ends earlier has begun anew.
 */
function holdline_row_of($m)
{
    global $wpdb;
    $state = holdline_state();
    $after = $m['after'] > $state['send']['last'] ? 0 : $m['after'];
    $rows = $wpdb->get_results($wpdb->prepare("SELECT id, rel FROM {$wpdb->prefix}wplc_chat_msgs"
        . ' WHERE id > %d AND chat_sess_id = %d AND originates = %d AND rel = %s ORDER BY id',
        $after, $m['cid'], $m['from'] === 'agent' ? 1 : 2, $m['client_id']));
    if (!is_array($rows) || $wpdb->last_error !== '') {
        return null;
    }
    foreach ($rows as $row) {
        if ($row->rel === $m['client_id']) { // the column does not tell capitals apart
            return (int) $row->id;
        }
    }
    return 0;
}

/**
 * Has the plugin record a message. What the function returns does not tell whether
 * it has, nor does that a listener failed: the row does.
 */
function holdline_record($m, $text)
{
    $state = &holdline_state();
    $state['send']['asked'] = null;
    $other = new stdClass();
    $other->msgID = $m['client_id'];
    try {
        wplc_record_chat_msg($m['from'] === 'agent' ? '2' : '1', (string) $m['cid'], $text, false, false, $other);
    } catch (Exception $e) {
        error_log('Holdline: code of this site failed on a message: ' . $e);
    } catch (Error $e) { // PHP 5 has no such class and does not mind
        error_log('Holdline: code of this site failed on a message: ' . $e);
    }
    $id = holdline_row_of($m);
    if ($id) {
        return array('id' => $id);
    }
    // WordPress itself refuses what a column cannot hold, and says so in words that depend on its language.
    return $id === 0 && $state['send']['asked'] === false
        ? holdline_refused('text', 'The message cannot be stored in this site.') : array('again' => true);
}

/** Action wplc_hook_message_sent, before all others: whether the database was asked to INSERT. It fires anyway. */
function holdline_sent()
{
    global $wpdb;
    $state = &holdline_state();
    $state['send']['asked'] = holdline_written((string) $wpdb->last_query) !== '';
}

/**
 * A text as HTML that shows it, which is what a stored text is to everything that
 * shows it. The plugin's own handlers strip what looks like a tag ("I <3 you"
 * loses all but "I"), strip backslashes when they show a text, and lose a message
 * with a character that a utf8mb3 column cannot hold. As numeric references all of
 * it survives, and no markup gets in. Go turns these forms, and no others, back:
 * wpdb/wplc/references.go.
 */
function holdline_as_html($text)
{
    return (string) preg_replace_callback('~&(?=[#a-zA-Z])|<|\\\\|[\x{10000}-\x{10FFFF}]~u', 'holdline_reference', $text);
}

function holdline_reference($match)
{
    $bytes = array_values(unpack('C*', $match[0]));
    if (count($bytes) === 1) {
        return '&#' . $bytes[0] . ';';
    }
    list($a, $b, $c, $d) = $bytes;
    return sprintf('&#x%x;', ($a & 7) << 18 | ($b & 63) << 12 | ($c & 63) << 6 | $d & 63);
}

// --- chats that are older than Holdline -------------------------------------------------------

/**
 * The highest chat of the site's first sync call: later ones got a cookie as they
 * began. 0 once ids begin anew, as they do when the plugin's whole history is
 * deleted. Options are read and written without WordPress's caches, since two
 * calls at once must not disagree.
 */
function holdline_since()
{
    global $wpdb;
    $ask = "SELECT (SELECT COALESCE(MAX(id), 0) FROM {$wpdb->prefix}wplc_chat_sessions) AS last,"
        . " (SELECT option_value FROM {$wpdb->options} WHERE option_name = 'holdline_since') AS since";
    $before = $wpdb->suppress_errors(); // a site that never had the plugin has no table
    $row = $wpdb->get_row($ask);
    $wpdb->suppress_errors($before);
    if ($row && $row->since === null) {
        $wpdb->query($wpdb->prepare("INSERT IGNORE INTO {$wpdb->options} (option_name, option_value, autoload)"
            . " VALUES ('holdline_since', %d, 'no'), ('holdline_adopted', '', 'no')", array($row->last)));
        $row = $wpdb->get_row($ask);
    }
    if ($row && (int) $row->last < (int) $row->since) {
        $wpdb->query("UPDATE {$wpdb->options} SET option_value = '0' WHERE option_name = 'holdline_since'");
        return 0;
    }
    return $row ? (int) $row->since : 0;
}

/**
 * Gives a chat that still lives and began before Holdline to who asks first: true
 * once and never again. All that were given away are in one option, which cannot
 * grow for long, because only chats that are alive from then on get into it.
 */
function holdline_adopt($cid, $since)
{
    global $wpdb;
    $yesterday = gmdate('Y-m-d H:i:s', strtotime(current_time('mysql') . ' UTC') - 86400);
    if ($cid > $since || !$wpdb->get_var($wpdb->prepare("SELECT id FROM {$wpdb->prefix}wplc_chat_sessions"
        . ' WHERE id = %d AND status IN (2,3,5,10,12) AND last_active_timestamp > %s', array($cid, $yesterday)))) {
        return false;
    }
    // One statement asks and notes, so one of two that ask at once finds nothing to change.
    return $wpdb->query($wpdb->prepare("UPDATE {$wpdb->options} SET option_value = CONCAT(option_value, ',', %d)"
        . " WHERE option_name = 'holdline_adopted' AND NOT FIND_IN_SET(%d, option_value)", array($cid, $cid))) === 1;
}

// --- who may read: visitors' cookies and tokens -----------------------------------------------

/**
 * Before the INSERT of a chat: its browser shall get the cookie that binds the
 * two. Only a row that is really made counts; the plugin's hooks also fire for
 * whatever number a browser sends. Holdline, when the request came through it,
 * leaves this to us: it sees an answer, and not whether that made a row.
 */
function holdline_expect_session()
{
    global $wpdb;
    if (headers_sent()) {
        return;
    }
    $state = &holdline_state();
    $state['before'] = (int) $wpdb->insert_id;
    ob_start('holdline_bind_before_output');
}

function holdline_bind_before_output($output)
{
    holdline_bind();
    return $output;
}

/** After that INSERT: before the next query or the first output, whichever comes first. */
function holdline_bind()
{
    global $wpdb;
    $state = &holdline_state();
    if ($state['before'] === null) {
        return;
    }
    $before = $state['before'];
    $state['before'] = null;
    $id = (int) $wpdb->insert_id;
    if ($id <= 0 || $id === $before || headers_sent()) {
        return;
    }
    $now = time();
    list($channels) = holdline_bound(holdline_secret(), holdline_cookie(), $now);
    $channels = array_slice(array_unique(array_merge($channels, array('wplc/' . $id))), -HOLDLINE_MAX_BOUND);
    $life = 7 * 86400;
    header('Set-Cookie: ' . HOLDLINE_COOKIE . '=' . holdline_binding(holdline_secret(), $channels, $now + $life)
        . '; Path=/; Max-Age=' . $life . '; HttpOnly; SameSite=Lax' . (holdline_is_https() ? '; Secure' : ''), false);
}

/** Whether the browser speaks TLS: WordPress does not read what Holdline says of that. */
function holdline_is_https()
{
    return is_ssl() || !empty($_SERVER['HTTP_X_HOLDLINE_FORWARDED'])
        && isset($_SERVER['HTTP_X_FORWARDED_PROTO']) && $_SERVER['HTTP_X_FORWARDED_PROTO'] === 'https';
}

function holdline_cookie()
{
    // Older PHP reads a plus sign in a cookie as a blank.
    return isset($_COOKIE[HOLDLINE_COOKIE]) ? str_replace(' ', '+', $_COOKIE[HOLDLINE_COOKIE]) : '';
}

/** Tells whether the user is an agent to the chat plugin: by user meta, before 6 by capability. */
function holdline_is_agent()
{
    if (!is_user_logged_in()) {
        return false;
    }
    if (version_compare(holdline_plugin_version(), '6', '<')) {
        return current_user_can('wplc_ma_agent') || current_user_can('manage_options');
    }
    $meta = get_user_meta(get_current_user_id(), 'wplc_ma_agent', true);
    return !empty($meta);
}

/**
 * The token of whoever asks: array(token, expires), or null. Agents may read the
 * whole source, visitors the chats that their cookie is bound to, nobody else
 * anything.
 */
function holdline_grant()
{
    $now = time();
    if (holdline_is_agent()) {
        $expires = $now + (int) apply_filters('holdline_token_life', 12 * 3600);
        return array(holdline_jwt(holdline_secret(), 'wp:' . get_current_user_id(), array('wplc/*'), $expires), $expires);
    }
    list($channels, $until) = holdline_bound(holdline_secret(), holdline_cookie(), $now);
    if (!$channels) {
        return null;
    }
    $expires = min($until, $now + 3600);
    return array(holdline_jwt(holdline_secret(), 'visitor of ' . $channels[0], $channels, $expires), $expires);
}

/** Ajax action holdline_token: a fresh token. Other origins cannot read the answer. */
function holdline_token()
{
    $grant = holdline_grant();
    holdline_answer(200, $grant ? array('token' => $grant[0], 'exp' => $grant[1]) : array('token' => null));
}

/**
 * Prints window.holdline. Only an agent's page has a token in it: pages of
 * visitors are kept by caches and shown to others, so those ask for theirs.
 */
function holdline_head()
{
    if (holdline_plugin_version() === '') {
        return;
    }
    $page = array('url' => holdline_public_url(), 'refresh' => admin_url('admin-ajax.php', 'relative') . '?action=holdline_token');
    if (holdline_is_agent()) {
        list($page['token'], $page['exp']) = holdline_grant();
    }
    $page = apply_filters('holdline_page', $page);
    if (is_array($page)) {
        echo '<script>window.holdline=' . wp_json_encode($page, JSON_HEX_TAG | JSON_HEX_AMP | JSON_UNESCAPED_SLASHES) . ";</script>\n";
    }
}

/** Where browsers reach Holdline: this site's own origin when PHP reaches it privately. */
function holdline_public_url()
{
    if (defined('HOLDLINE_PUBLIC_URL')) {
        return HOLDLINE_PUBLIC_URL;
    }
    $to = parse_url(holdline_url());
    $host = is_array($to) && isset($to['host']) ? trim($to['host'], '[]') : '';
    $address = filter_var($host, FILTER_VALIDATE_IP) !== false;
    $public = $address
        ? filter_var($host, FILTER_VALIDATE_IP, FILTER_FLAG_NO_PRIV_RANGE | FILTER_FLAG_NO_RES_RANGE) !== false
        : strpos($host, '.') !== false;
    return $public ? holdline_url() : (isset($to['path']) ? $to['path'] : '/');
}

// --- without a proxy rule ---------------------------------------------------------------------

/**
 * Prints a jQuery transport that sends the three loops to Holdline's /ajax and,
 * when that fails, the same request to PHP. It is a transport and no
 * ajaxPrefilter, because 5.x gives up its loop at the first error, and because
 * jQuery decides about crossDomain before the prefilters run.
 */
function holdline_reroute()
{
    if (holdline_plugin_version() === '') {
        return;
    }
    ?>
<script>
(function ($, h) {
  if (!$ || !$.ajaxTransport || !h) { return; }
  var loop = /^wplc_(call_to_server_visitor|admin_long_poll|admin_long_poll_chat)$/;
  var away = /^https?:/.test(h.url) && h.url.indexOf(location.protocol + '//' + location.host + '/') !== 0;
  var resting = 0, asked = 0;
  function seconds() { return new Date().getTime() / 1000; }
  function good() { return h.token && !(h.exp && h.exp < seconds() + 60); }
  function ask() { // once a minute at most: a browser without a chat gets none
    if (good() || asked > seconds() - 60) { return; }
    asked = seconds();
    $.getJSON(h.refresh, function (a) { if (a && a.token) { h.token = a.token; h.exp = a.exp; } });
  }
  $.ajaxTransport('+*', function (options, original) {
    var data = original.data;
    if (!data || !loop.test(data.action) || options.async === false) { return; }
    var xhr, stopped = false;
    function go(there, headers, done) {
      var url = there ? h.url + '/ajax' + (good() ? '?token=' + encodeURIComponent(h.token) : '') : options.url;
      function back() { resting = seconds() + 30; go(false, headers, done); }
      xhr = new XMLHttpRequest();
      xhr.open('POST', url, true);
      xhr.withCredentials = there && away;
      for (var name in headers) { // any other header would cost a preflight
        if (!(there && away) || /^(accept|content-type)$/i.test(name)) { xhr.setRequestHeader(name, headers[name]); }
      }
      xhr.onload = function () {
        if (stopped) { return; }
        if (there && xhr.status !== 200) { back(); return; }
        if (!there && away) { ask(); }
        done(xhr.status, xhr.statusText, {text: xhr.responseText}, xhr.getAllResponseHeaders());
      };
      xhr.onerror = function () {
        if (stopped) { return; }
        if (there) { back(); } else { done(0, 'error'); }
      };
      xhr.send(options.data);
    }
    return {
      send: function (headers, done) { go(seconds() > resting && (!away || good()), headers, done); },
      abort: function () { stopped = true; if (xhr) { xhr.abort(); } }
    };
  });
  if (away) { ask(); }
})(window.jQuery, window.holdline);
</script>
    <?php
}

/**
 * Prints the script that feeds the chat's own scripts from one line. It is loaded
 * beside the page, which shows and chats as ever where Holdline does not answer, and
 * loads the browser client itself when there is a chat. Before 6 the plugin knows no
 * request that is answered at once.
 */
function holdline_push()
{
    $chat = !is_admin() || isset($_GET['page']) && strpos((string) $_GET['page'], 'wplivechat') === 0;
    if ($chat && version_compare(holdline_plugin_version(), '6', '>=')) {
        echo '<script async src="' . esc_url(holdline_public_url() . '/wplc.js') . "\"></script>\n";
    }
}

/**
 * As an error document: answers 307, on which a browser sends the same request
 * with the same body again, marked so that the proxy rule leaves it to PHP.
 */
function holdline_back_to_php($server)
{
    list($status, $location) = holdline_way_back($server);
    header('Cache-Control: no-store');
    if ($location !== '') {
        header('Location: ' . $location, true, $status);
    } else {
        http_response_code($status);
    }
}

/** array(status, path), the path '' when there is no way back. */
function holdline_way_back($server)
{
    $status = isset($server['REDIRECT_STATUS']) ? (int) $server['REDIRECT_STATUS'] : 404;
    $path = isset($server['REDIRECT_URL']) ? $server['REDIRECT_URL'] : '';
    $query = isset($server['REDIRECT_QUERY_STRING']) ? $server['REDIRECT_QUERY_STRING'] : '';
    // IIS: "502;http://host:80/path?query"
    if ($path === '' && isset($server['QUERY_STRING']) && preg_match('~^(50\d);https?://[^/?]+(/[^?]*)\??(.*)$~', $server['QUERY_STRING'], $m)) {
        list(, $status, $path, $query) = $m;
    }
    $ours = preg_match('~^(?:/[\w.\~%-]+)*/wp-admin/admin-ajax\.php$~', $path) && strpos($query, 'holdline=php') === false;
    if (!$ours || (int) $status < 500) {
        return array((int) $status >= 400 ? (int) $status : 404, '');
    }
    return array(307, $path . '?' . ($query === '' ? '' : $query . '&') . 'holdline=php');
}
