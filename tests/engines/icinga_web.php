<?php
// Starts Icinga Web, and finds the classes of its modules.

use Icinga\Application\Cli;

error_reporting(E_ALL & ~E_DEPRECATED); // the libraries of Debian 12 are older than its PHP
ini_set('display_errors', 'stderr');
require '/usr/share/php/Icinga/Application/Cli.php';
Cli::start('/usr/share/icingaweb2');

spl_autoload_register(function ($class) {
    $parts = explode('\\', $class);
    if (array_slice($parts, 0, 2) === array('Icinga', 'Module')) {
        $module = strtolower($parts[2]);
        $file = implode('/', array_slice($parts, 2));
        require "/usr/share/icingaweb2/modules/$module/library/$file.php";
    }
});
