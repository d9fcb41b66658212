<?php
define('A', 1 + 2 . 'x' . 3 * 4);
define('B', !false && true || false);
define('C', true ? 'a' : 'b');
define('D', null ?? 'x' . 'y');
define('E', 7 % 3 | 8);
$a = false or true; define('F', $a);
define('H', -1 + 2 . '');
define('I', '5' + '6');
define('K', 'a' == '0'); define('L', 0 == 'a'); define('M', '1' == '01'); define('N', null == '');
define('O', 'abc' == 0); define('Q', '10' == '1e1'); define('R', 100 == '1e2'); define('S', 1.0 == 1);
define('P', true xor true);
define('T', ~1); define('U', 1 << 4 | 1 ^ 3 & 2); define('V', 10 / 2 - 3); define('W', 9 >> 1);
define('X', '0' ?: 'zero'); define('Y', '' ?? 'x'); define('Z', [] ? 'y' : 'n');
define('AA', "0.0" ? 'y' : 'n'); define('AB', '1' === 1 ? 'a' : ('b')); define('AC', 10 > 9 && 3 <= 3);
define('AD', (string) 5 . (int) '7' . -(-3)); define('AE', (bool) '0'); define('AF', 1 !== 1.0); define('AG', 2 <> 3);
define('AH', 'abc'[1]); define('AI', 3 < 2); define('AJ', true == 'false'); define('AK', 'a' . -1); define('AL', +'3');
