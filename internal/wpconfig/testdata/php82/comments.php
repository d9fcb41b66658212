<?php # define('X',1)
//define('X',2) ?> <?php /** define('X',3); **/ define('A', /* 'no', */ 'yes' // 'x'
 , # y
 false);
define('B','a
b');#cdefine('C',1);