<?php
/*
 * Writes golden.json: what PHP's own unserialize() and json_encode() make of a
 * set of inputs. Run it by hand with PHP 8.2 after adding a case:
 *
 *     php golden.php > golden.json
 *
 * Tests read only the result. Byte strings are stored in base64.
 */

function nest( int $depth ) {
	$v = 1;
	while ( $depth-- > 0 ) {
		$v = [ $v ];
	}
	return $v;
}

// Values: serialize() gives the input, json_encode() the expected output.
$values = [
	'null'                    => null,
	'true'                    => true,
	'false'                   => false,
	'zero'                    => 0,
	'negative int'            => -42,
	'largest int'             => PHP_INT_MAX,
	'smallest int'            => PHP_INT_MIN,
	'empty string'            => '',
	'plain string'            => 'Hello, world',
	'string with syntax'      => 'a"b;}c:{s:1:"x";',
	'string with html'        => '<a href="/x?a=1&b=2">it\'s</a>',
	'string of controls'      => implode( '', array_map( 'chr', range( 0, 31 ) ) ) . "\x7f",
	'backslashes'             => 'C:\\dir\\"x"\\',
	'two-byte characters'     => 'ünï ß ø',
	'three-byte characters'   => "\u{20ac} \u{2028}\u{2029} \u{fffd} \u{ffff} \u{d7ff} \u{e000}",
	'four-byte characters'    => "\u{1f600}\u{10000}\u{10ffff}",
	'invalid byte'            => "abc\xffdef",
	'truncated character'     => "abc\xc3",
	'overlong character'      => "\xc0\x80",
	'surrogate'               => "\xed\xa0\x80",
	'beyond unicode'          => "\xf4\x90\x80\x80",
	'invalid byte in key'     => [ "\xff" => 1 ],
	'infinity'                => INF,
	'minus infinity in array' => [ 1, -INF ],
	'nan'                     => NAN,
	'empty array'             => [],
	'list'                    => [ 1, 'two', 3.5, null, true, false ],
	'list out of order'       => [ 1 => 'b', 0 => 'a' ],
	'list with a hole'        => [ 0 => 'a', 2 => 'c' ],
	'list from one'           => [ 1 => 'a', 2 => 'b' ],
	'negative key'            => [ -1 => 'a' ],
	'map'                     => [ 'b' => 1, 'a' => 2, '' => 3, "\0x" => 4, 'ü/' => 5 ],
	'numeric string keys'     => [ '7' => 1, '07' => 2, '-7' => 3, '-0' => 4, '+7' => 5, '7 ' => 6, '1e1' => 7, '-' => 8 ],
	'int range keys'          => [ '9223372036854775807' => 1, '9223372036854775808' => 2, '-9223372036854775808' => 3, '-9223372036854775809' => 4 ],
	'nested'                  => [ 'a' => [ 'b' => [ 'c' => [] ], 'd' => [ [ 1 ], [ 'x' => 2 ] ] ] ],
	'sixteen deep'            => nest( 16 ),
	'many keys'               => array_combine( array_map( fn( $i ) => "key$i", range( 0, 99 ) ), range( 0, 99 ) ),
	'chat session'            => [
		'user_type'       => 1,
		'user_is_mobile'  => false,
		'unanswered'      => true,
		'welcome'         => true,
		'aid'             => 7,
		'typing'          => [ 'user' => '1767229323', 'admin' => 0 ],
		'wplc_extra_data' => [ 'custom_fields' => '{"1":["Phone","+49\/30"]}', 'från' => 'Malmö 😀' ],
	],
];
foreach ( [ 0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, 10.0, 1e14, 1e15, 1e16, 99999999999999990.0, 1e17, 1.5e17, -1e17, 1e25, 1.25e25, 1e100, 1e-100,
	0.001, 0.0001, 0.00012345, 0.00009999, 0.00001, -1.2345e-5, 5e-324, 1.7976931348623157e308, 123456.789, 2.0 ** 53, 1767229323.123456 ] as $f ) {
	$values[ 'float ' . var_export( $f, true ) ] = $f;
}

// Raw inputs: unserialize() decides.
$raw = [
	'i:+5;', 'i:-0;', 'i:007;', 'i:;', 'i:5', 'i:1_0;', 'i:0x1;', 'i: 5;', 'd:1;', 'd:.5;', 'd:5.;', 'd:.;', 'd:+1.5;', 'd:1e5;', 'd:1E-7;', 'd:1e;', 'd:e5;', 'd:0x1p3;',
	'd:inf;', 'd:+INF;', 'd:-NAN;', 'd:1_0;', 'd:1E+400;', 'b:2;', 'b:;', 'b:01;', 'b:1', 'B:1;', 'n;', 'N', 'N:', '', 'x', 's:+1:"a";', 's:01:"a";', 's:1:"a"', 's:1:"ab";',
	's:2:"a";', 's:3:"é";', 's:2:"é";', 's:-1:"";', "s:1:'a';", 's:1:"a;;', 's:1:"a"x', 's:1:"axy', 's:99999999999999999999:"a";', 'a:1:{i:0;i:1;', 'a:1:{i:0;i:1}', 'a:+1:{i:0;i:1;}', 'a:2:{i:0;i:1;}', 'a:0:{i:0;i:1;}',
	'a:-1:{}', 'a:0:{', 'a:0:[]', 'a:1:{b:1;i:1;}', 'a:1:{d:1;i:1;}', 'a:1:{N;i:1;}', 'a:1:{a:0:{}i:1;}', 'a:1000000000:{}', 'a:1:{i:0;x}', 'a:1:{s:1:"1";i:1;}', 'a:1:{s:2:"01";i:1;}',
	'a:2:{s:1:"1";i:1;i:1;i:2;}', 'a:3:{s:1:"a";i:1;i:0;N;s:1:"a";i:2;}', 'a:2:{i:1;s:1:"a";i:0;s:1:"b";}', 'a:2:{i:0;s:1:"a";s:1:"1";s:1:"b";}',
];

$cases = [];
foreach ( $values as $name => $v ) {
	$json    = json_encode( $v );
	$cases[] = [ 'name' => $name, 'serialized' => base64_encode( serialize( $v ) ), 'valid' => true, 'json' => false === $json ? null : base64_encode( $json ) ];
}
foreach ( $raw as $s ) {
	$v       = @unserialize( $s, [ 'allowed_classes' => false ] );
	$valid   = false !== $v;
	$json    = $valid ? json_encode( $v ) : false;
	$cases[] = [ 'name' => "raw $s", 'serialized' => base64_encode( $s ), 'valid' => $valid, 'json' => false === $json ? null : base64_encode( $json ) ];
}
echo json_encode( [ 'php' => PHP_VERSION, 'cases' => $cases ], JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE ), "\n";
