-- One chat of WP Live Chat Support 5.0.4 as the plugin stores it, text exact (a
-- backslash in a value is written twice here). For the tables of
-- testdata/schema/wplc-5.sql. SET @now before, on the same connection, for
-- another time than this one; site zone Europe/Helsinki.
SET @now = IFNULL(@now, '2015-08-20 10:32:00');

INSERT INTO `wp_wplc_chat_sessions`
  (`id`, `timestamp`, `name`, `email`, `ip`, `status`, `session`, `url`, `last_active_timestamp`, `other`) VALUES
(1, @now - INTERVAL 125 SECOND, 'Ann O\\\'Neil', 'ann@example.com', '127.0.0.1', 3, '1440055800001', 'http://127.0.0.1:28081/shop/', @now, ''),
(2, @now - INTERVAL 10 SECOND, 'Guest', 'no email set', '127.0.0.1', 5, '1440055800002', 'http://127.0.0.1:28081/', @now, '');

INSERT INTO `wp_wplc_chat_msgs`
  (`id`, `chat_sess_id`, `from`, `msg`, `timestamp`, `status`, `originates`) VALUES
(1, 1, 'Ann O\\\'Neil', 'It\\\'s bold / 5', '2015-08-20 10:31:00', 1, 2),
(2, 1, 'admin', 'Hi \\"you\\"', '2015-08-20 10:31:05', 0, 1),
(3, 1, 'Ann O\\\'Neil', 'C:\\\\temp', '2015-12-20 10:31:10', 0, 2);
