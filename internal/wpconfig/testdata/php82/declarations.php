<?php
declare(strict_types=1);
use Foo\Bar; use Baz\{A as Q, B};
abstract class K { const DB_NAME = 'no'; function define($x, $y) { define('BAD1', '1'); } }
interface I { const X = 1; }
function f($a) { define('BAD2', $a); return 'x'; }
define('A', \strtolower('ABC'));
const C = 'c' . A, D = C;
if (true) { define('E', __LINE__); }
define('F', PHP_EOL === "\n" ? \C : 'x');
DEFINE('G', TRUE); \define('H', Null); @define('I', 'i',);
