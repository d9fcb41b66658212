<?php
// Prints what WordPress makes of a form's field on its way into $_POST and
// through sanitize_text_field, as JSON: [[sent, result], ...]. The functions are
// written after the documentation of formatting.php. Run: php fields.php > fields.json
function less_than($s) {
    return preg_replace_callback('%<[^>]*?((?=<)|>|$)%', function ($m) {
        return strpos($m[0], '>') === false ? htmlspecialchars($m[0], ENT_QUOTES | ENT_HTML401, 'UTF-8') : $m[0];
    }, $s);
}
function field($s) {
    if ($s !== '' && @preg_match('/^./us', $s) !== 1) {
        return '';
    }
    if (strpos($s, '<') !== false) {
        $s = less_than($s);
        $s = trim(strip_tags(preg_replace('@<(script|style)[^>]*?>.*?</\\1>@si', '', $s)));
        $s = str_replace("<\n", "&lt;\n", $s);
    }
    $s = trim(preg_replace('/[\r\n\t ]+/', ' ', $s));
    $found = false;
    while (preg_match('/%[a-f0-9]{2}/i', $s, $m)) {
        $s = str_replace($m[0], '', $s);
        $found = true;
    }
    return $found ? trim(preg_replace('/ +/', ' ', $s)) : $s;
}
$fields = ['', 'Ann', "Ann O'Neil", 'Ann "A" \\ B', "  Ann \t\r\n B  ", 'Grüße 漢', 'a%20b', '%%4141', 'a %41 b', '100%', '50%zz', '%4', '%%%414141 x',
    '<b>Ann</b>', '<3 Ann', 'a < b', 'a <b', 'a > b', '<a href="x>y">z</a>', '<script>alert(1)</script>Ann', '<SCRIPT src=x>1</script >2</SCRIPT>3',
    '<style>b{}</style>x<style>', '<<b>>Ann', '<a <b> c>d', "a<\nb>c", 'x & y', '<x & y', 'a<!-- c -->b', '<?php x ?>y', 'a<?>b', 'a<?b', 'a<!x">b', 'a<!--> b -->c', "null\0byte", '<b', '>', 'ann@example.com'];
$out = [];
foreach ($fields as $f) {
    $out[] = [$f, field(addslashes($f))];
}
echo str_replace('],[', "],\n[", json_encode($out)), "\n";
