from django.db import migrations
from django.db.models import Min

from classroom.models import join_code


def forwards(apps, schema_editor):
    """What the new columns say of rows that were there: members, codes, first publications, time zones."""
    Group = apps.get_model("classroom", "Group")
    GroupMember = apps.get_model("classroom", "GroupMember")
    for group in Group.objects.all():
        Group.objects.filter(pk=group.pk).update(join_code=join_code())
        for user in group.members.values_list("pk", flat=True):
            if not GroupMember.objects.filter(assignment_id=group.assignment_id, user_id=user).exists():
                GroupMember.objects.create(group=group, assignment_id=group.assignment_id, user_id=user)
    Release = apps.get_model("grading", "Release")
    LineItem = apps.get_model("grading", "LineItem")
    for assignment in apps.get_model("classroom", "Assignment").objects.select_related("course"):
        LineItem.objects.filter(pk=assignment.line_item_id).update(time_zone=assignment.course.time_zone)
        if assignment.release_id is not None:
            first = Release.objects.filter(line_item=assignment.line_item_id).aggregate(at=Min("published_at"))["at"]
            assignment.opened_at = first or assignment.created_at
            assignment.save(update_fields=["opened_at"])


class Migration(migrations.Migration):

    dependencies = [
        ("classroom", "0003_accommodations_and_groups"),
        ("grading", "0007_late_table"),
    ]

    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
