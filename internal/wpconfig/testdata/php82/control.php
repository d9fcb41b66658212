<?php
$e = 'prod';
switch ($e) { case 'dev': define('A', 'dev'); break; case 'prod': define('A', 'prod'); case 'x': define('B', 'fall'); break; default: define('C', 'no'); }
switch ($e): case 'dev': define('C2', 1); break; default: define('B2', 2); endswitch;
switch ($e) { default: define('B3', 'default'); break; case 'other': define('C3', 'no'); }
if ($e === 'dev'): define('D', '1'); elseif ($e === 'prod'): define('D', '2'); else: define('D', '3'); endif;
if ($e) define('E', 'x'); else if (true) define('E', 'y'); else define('E', 'z');
foreach (['a', 'b', 'c', 'd'] as $i) { if ($i === 'b') continue; if ($i === 'd') break; define('L' . $i, $i); }
foreach (['a'] as $i): define('M' . $i, $i); endforeach;
$i = 0; ++$i; $j = $i++; define('F', "$i$j");
$s = $t = 'same'; define('G', $s . $t); $u ??= 'dflt'; define('H', $u); $n = 3; $n += 4; $n *= 2; $n -= 1; define('I', $n);
!($w = '') && define('J', 'j');
try { throw new Exception('x'); } catch (Exception $x) { define('K', 2); } finally { define('K2', 3); }
try { define('K3', 4); } catch (Exception $x) { define('K4', 5); }
return;
define('NEVER2', 1);
