<?php
// Prints what PHP takes for the path of odd and ordinary URLs, as JSON:
// [[url, path, null or false], ...]. Run: php urls.php > urls.json
$urls = ['', '/', '//', '///', 'shop', 'shop/a', '/shop/?x=1', '/shop/#a?b', 'https://shop.example', 'https://shop.example/',
    'https://shop.example?x=1', 'https://shop.example#top', 'https://shop.example/a/b?c=/d#e', 'https://shop.example:8443/a',
    'https://shop.example:99999/a', 'https://shop.example:123456/a', 'https://shop.example:/a', 'https://user:pw@shop.example:81/a@b',
    'https://[::1]/a', 'https://[::1]:80/a', 'http://', 'http:///a', 'http:/a', 'http:a', 'http:', 'mailto:ann@example.com',
    '//shop.example/a', '//shop.example', '//shop.example:80/a', 'shop.example:80', 'shop.example:80/a', 'shop.example:70000/a', 'localhost:8080/a?b',
    'file:///etc/x', 'file:///c:/x', 'file://host/x', '?x=1', '#a', '/a:80', '/a:b', '/a:80/b', ':80', ':', ':80/a', ':a', 'a b:80/c', 'a b:c', 'x?y:z', '/x?y:80',
    "/a\tb\x7fc", '/häuser/küche', 'https://shop.example/produkt/kaffee-und-tee/?x=1', '//shop.example:a/b', '//:80/a', 'http://?x', 'http://@/a', 'ht_tp://x/y'];
$out = [];
foreach ($urls as $url) {
    $out[] = [$url, parse_url($url, PHP_URL_PATH)];
}
echo str_replace('],[', "],\n[", json_encode($out)), "\n";
