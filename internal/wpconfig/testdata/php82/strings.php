<?php
$x = 'v';
$list = ['k' => 'v', 'n' => ['m' => 'z'], 3 => 't'];
$object = (object) parse_url('http://host/path');
define('ESCAPES', "\x4\x414\8\400\101\u{1F600}x\u0041\X41\$a\{b}\"\\");
define('BACKSLASH_BRACE', "\{$x} {$x}s $x[0] ${x}");
define('NESTED', "{$list['n']['m']} $list[k] $list[3] {$object->host} $object->path");
define('LITERAL', "a$ b$ \$x $5 $ x { $x }");
define('SINGLE', 'a\'b\\c\nd$x{$x}');
define('JOINED', 'a' . 1 . true . false . null . 'z' . PHP_EOL . DIRECTORY_SEPARATOR);
define('LINES', 'a
b');
define('INDENTED', <<<"EOT"
    a \"q\" {$list['k']} $list[k]
      b\tc
    EOT . 'tail');
define('NOWDOC', <<<'E'
  raw\n $x
   two
  E);
define('EMPTY_DOC', <<<E

E);
define('LABEL_LOOKALIKE', <<<E
Ex
 E2

E);
