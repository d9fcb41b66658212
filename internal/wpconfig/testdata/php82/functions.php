<?php
define('A', dirname('/a/b/c/')); define('B', dirname('/a/../b')); define('C', dirname('/a/b/c', 2)); define('D', basename('/x/y.php'));
define('E', trim("  a \n")); define('F', rtrim('abc//', '/')); define('G', str_replace('a', 'b', 'banana'));
define('H', substr('hello', 1, 3) . substr('hello', -2) . substr('hello', 1, -1) . substr('abc', 5) . '|' . substr('abc', -5, 2));
define('I', strtoupper('aé') . strtolower('AÉ')); define('J', implode(',', ['a', 'b', 1])); define('K', sprintf('%s-%d%%', 'x', 5));
define('L', in_array('b', ['a', 'b'])); define('M', md5('x') . sha1('y') . hash('sha256', 'z')); define('N', explode(',', 'a,b')[1]);
define('O', parse_url('mysql://u:p%40@h:33/db?x=1#f')['pass']); define('P', strpos('abc', 'c')); define('Q', preg_replace('/:.*/', '', 'h:80'));
define('R', preg_match('/^[a-z]+$/', 'abc')); define('S', filter_var('yes', FILTER_VALIDATE_BOOLEAN)); define('T', dirname('x') . dirname('/x') . dirname('/'));
define('U', base64_decode('aGk=') . base64_encode('hi') . bin2hex('hi')); define('V', intval('42')); define('Y', constant('V'));
define('Z', stripos('ABC', 'c')); define('AA', strlen('é')); define('AB', str_contains('abc', 'b') && str_starts_with('abc', 'a') && str_ends_with('abc', 'c'));
define('AC', array_key_exists('k', ['k' => null])); define('AD', is_string('') && is_array([]) && is_null(null) && is_bool(true) && is_int(1));
define('AE', ltrim('  x') . urldecode('a+b%20') . rawurldecode('a+b%20')); define('AF', strval(5)); define('AG', boolval('0'));
define('AH', defined('AG')); define('AI', parse_url('http://h/p')['path'] . parse_url('http://h:8080')['port']); define('AJ', strpos('abc', 'x'));
define('AK', preg_match('/^A/i', 'abc')); define('AL', filter_var('off', FILTER_VALIDATE_BOOLEAN)); define('AM', dirname('')); define('AN', in_array('1', [1, 2], true));
define('AO', explode('.', 'a.b.c', 2)[1]);
