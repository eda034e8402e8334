from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("classroom", "0004_what_was_there"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # A many-to-many field cannot be given another table; 0003 has copied its rows.
        migrations.RemoveField(model_name="group", name="members"),
        migrations.AddField(
            model_name="group",
            name="members",
            field=models.ManyToManyField(
                related_name="work_groups", through="classroom.GroupMember", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddConstraint(
            model_name="group",
            constraint=models.UniqueConstraint(fields=("assignment", "join_code"), name="one_group_a_code"),
        ),
    ]
