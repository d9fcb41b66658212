<?php
// Prints what WordPress makes of site-local datetimes (get_gmt_from_date, which
// is a DateTime in the site's zone) around each turn of the clock, as JSON:
// zone => [[digits, unix time], ...]. Run: php dates.php > dates.json
$turns = [
    'Europe/Helsinki' => ['2019-03-31 03:00', '2019-10-27 03:00'],
    'America/New_York' => ['2019-03-10 02:00', '2019-11-03 01:00'],
    'Europe/London' => ['2019-03-31 01:00', '2019-10-27 01:00'],
    'Europe/Dublin' => ['2019-03-31 01:00', '2019-10-27 01:00'],
    'Australia/Lord_Howe' => ['2019-10-06 02:00', '2019-04-07 01:30'],
    'America/Sao_Paulo' => ['2018-11-04 00:00', '2019-02-16 23:00'],
    'Pacific/Apia' => ['2011-12-30 00:00'],
    'Asia/Kathmandu' => ['2019-07-01 09:00'],
    '+05:45' => ['2019-07-01 09:00'],
    '-03:30' => ['2019-07-01 09:00'],
    'UTC' => ['2019-07-01 09:00'],
];
$out = [];
foreach ($turns as $zone => $list) {
    foreach ($list as $turn) {
        for ($m = -180; $m <= 240; $m += 15) {
            foreach ([-1, 0] as $s) {
                $d = new DateTime($turn, new DateTimeZone('UTC'));
                $digits = gmdate('Y-m-d H:i:s', $d->getTimestamp() + 60 * $m + $s);
                $out[$zone][] = [$digits, (new DateTime($digits, new DateTimeZone($zone)))->getTimestamp()];
            }
        }
    }
}
echo str_replace('],[', "],\n[", json_encode($out)), "\n";
