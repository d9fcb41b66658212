<html><?= 'x' ?>
<?php define('A','1') ?> define('B','2');
<?php if (true): ?> text <?php define('C','3'); endif; // c ?> <?php define('D', '4'); # x ?><?PHP define('E','?>'); /* ?> */ define('F', 6);