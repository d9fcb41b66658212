<?php
$a = ['x', 'k' => 'v', 5 => 'five', 'six'];
define('A', $a[0] . $a['k'] . $a[5] . $a[6]);
$a['n']['m'] = 'deep'; $b = $a; $b['k'] = 'changed';
define('B', $a['k'] . $b['k'] . $a['n']['m']);
$a[] = 'last'; define('C', $a[7]);
list($p, $q) = ['1', '2']; define('D', $p . $q);
['z' => $z] = array('z' => 'Z',); define('E', $z);
foreach (['DB' => ['host' => 'h', 'user' => 'u']] as $n => $i) foreach ($i as $k => $v) define("{$n}_{$k}", $v);
define('F', count($a)); define('G', isset($a['zz']) ? 1 : 2); define('H', empty($a['k'])); define('I', isset($a['k'], $a[0]));
$GLOBALS['g'] = 'x'; define('J', $g . $GLOBALS['g']); unset($g); define('K', isset($g));
$_SERVER['S'] = 's'; define('L', $_SERVER['S']); unset($_SERVER['S']); define('M', empty($_SERVER['S']));
