<?php
// Icinga Web by PHP's own web server, and below /beside/ the pages that show others of it beside
// each other: only there, on the same origin, do these get its cookies.

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if (strpos($path, '/beside/') === 0) {
    readfile(getenv('BESIDE') . '/' . basename($path));
    return true;
}
// It is a file that PHP's server names here, which style sheets and the like are not.
$_SERVER['SCRIPT_FILENAME'] = $_SERVER['DOCUMENT_ROOT'] . '/index.php';
return require '/usr/share/php/Icinga/Application/webrouter.php';
