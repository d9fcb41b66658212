<?php
defined('A') || define('A', 1); defined('A') or define('A', 2);
if (!defined('B')) { define('B', 'b'); } else { define('B2', 'b'); }
@define('A', 5); define('C', 'c');
(defined('Q') && Q) || define('R', 'r'); !defined('C') && define('C', 'd');
if (defined('A') && A === 1 and true) define('S', 's');
$x = defined('NOPE') ? NOPE : 'alt'; define('T', $x); define('U', defined('T') ?: 'n');
if (!defined('A')) exit; if (false) die('x'); A or die();
