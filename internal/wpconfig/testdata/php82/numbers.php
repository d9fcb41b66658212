<?php
define('A', 0x1F); define('B', 017); define('C', 0b11); define('D', 1_000); define('E', 1.5);
define('F', 9223372036854775807); define('G', 9223372036854775808); define('H', .5); define('I', 1e3); define('J', 0o17);
